"""What is found out about images ahead of any work, and what is refused."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from vintk_jax.adapting.refusals import refuse_unusable
from vintk_jax.adapting.survey import survey
from vintk_jax.errors import UserError


def nothing(done, total):
    """Nobody is told."""


def write(path, height=20, width=24, seed=0):
    """An image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def folder(root, classes=("cat", "dog"), images=200, splits=("",)):
    """Images of several classes, in class folders or in those of splits."""
    for split in splits:
        for name in classes:
            for number in range(images):
                write(root / split / name / f"{number}.png", seed=number)
    return f"folder:{root}"


@pytest.fixture
def mine(tmp_path):
    """A good folder."""
    return tmp_path, folder(tmp_path)


def test_a_folder_of_classes(mine):
    """A tenth is for measuring, a fifth of the rest for the lengths; all is counted."""
    _, where = mine
    found = survey(where, nothing)
    assert (found.train, found.labels, found.test) == ("train[:80%]", "train[80%:]", "test")
    assert sum(found.counts.values()) == 400
    assert found.counts["train"] > 3 * found.counts["labels"]
    assert found.class_counts == {"cat": 200, "dog": 200}
    assert found.sides == (20, 20, 20)
    refuse_unusable(found)


def test_folders_of_splits(tmp_path):
    """A folder val is for the lengths."""
    found = survey(folder(tmp_path, images=12, splits=("train", "val", "test")), nothing)
    assert (found.train, found.labels, found.test) == ("train", "val", "test")
    assert found.counts == {"train": 24, "labels": 24, "test": 24}
    assert found.class_counts == {"cat": 36, "dog": 36}


def test_the_digits():
    """They have a split of their own."""
    found = survey("digits", nothing)
    assert (found.labels, found.counts["labels"], found.classes) == ("assign", 8000, 10)
    assert found.sides == (32, 32, 32)


def test_an_archive(tmp_path):
    """Without a split val."""
    images = np.zeros((100, 12, 12, 3), np.uint8)
    labels = np.arange(100) % 2
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    found = survey(f"npz:{tmp_path / 'a.npz'}", nothing)
    assert found.counts == {"train": 80, "labels": 20, "test": 100}
    assert found.sides == (12, 12, 12)


def cut_off(path):
    """Half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_broken_images_are_found(mine):
    """Nothing in it, no image, and one that was cut off; all are named. One with something behind
    its end is none of them.
    """
    root, where = mine
    (root / "cat" / "0.png").write_bytes(b"")
    (root / "cat" / "1.png").write_text("no image")
    cut_off(root / "dog" / "2.png")
    write(root / "dog" / "3.jpg")
    cut_off(root / "dog" / "3.jpg")
    whole = write(root / "dog" / "4.jpg")
    whole.write_bytes(whole.read_bytes() + b"\0" * 500)
    found = survey(where, nothing)
    assert sorted(found.broken) == ["cat/0.png", "cat/1.png", "dog/2.png", "dog/3.jpg"]
    with pytest.raises(UserError, match=r"4 of the images.*cat/0\.png.*move them out"):
        refuse_unusable(found)


def test_images_of_one_pixel_and_of_20_000(mine):
    """Both are named, ahead of each other."""
    root, where = mine
    write(root / "cat" / "small.png", 1, 1)
    found = survey(where, nothing)
    assert found.small == ("cat/small.png",)
    with pytest.raises(UserError, match=r"fewer than 8 pixels.*cat/small\.png.*originals"):
        refuse_unusable(found)
    Image.new("1", (20_000, 20_000)).save(root / "dog" / "large.png")
    Image.new("1", (9_000, 9_000)).save(root / "dog" / "larger_than_useful.png")
    found = survey(where, nothing)
    assert found.large == ("dog/large.png", "dog/larger_than_useful.png")
    with pytest.raises(UserError, match=r"million pixels: dog/large\.png.*mogrify"):
        refuse_unusable(found)


def test_too_few_classes_and_images(tmp_path):
    """One class; three images; a class of few."""
    one = folder(tmp_path / "one", classes=("cat",))
    with pytest.raises(UserError, match="of 1 class, so there is nothing to tell apart"):
        refuse_unusable(survey(one, nothing))
    three = folder(tmp_path / "three", classes=("cat", "dog"), images=2)
    with pytest.raises(UserError, match=r"has 4 images .* 20 are the least"):
        survey(three, nothing)
    folder(tmp_path / "few", images=60)
    rare = folder(tmp_path / "few", classes=("bird",), images=9)
    with pytest.raises(UserError, match=r"1 of the 3 classes.*bird \(9\).*Add images"):
        refuse_unusable(survey(rare, nothing))


def test_ten_thousand_classes(mine):
    """More than a small model can tell."""
    found = dataclasses.replace(survey(mine[1], nothing), classes=10_000)
    with pytest.raises(UserError, match="10,000 classes; 2,000 are the most"):
        refuse_unusable(found)
