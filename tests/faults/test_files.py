"""Which files belong to a data set, in which order, and what is said of those that don't."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vintk_jax.data import clips, folders
from vintk_jax.data.sources import open_source
from vintk_jax.errors import UserError


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5, 3), value, np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    """Two classes of three images in train, of one in test."""
    for split, count in (("train", 3), ("test", 1)):
        for name in ("cat", "dog"):
            for i in range(count):
                picture(tmp_path / "set" / split / name / f"{i}.png", i)
    return tmp_path / "set"


def opened(root, split="train"):
    return open_source(f"folder:{root}", split)


@pytest.mark.parametrize(
    "extra",
    [
        "train/cat/.ipynb_checkpoints/1-checkpoint.png",
        "train/cat/.hidden.png",
        "train/cat/__MACOSX/1.png",
        "train/__MACOSX/1.png",
        "train/.git/1.png",
    ],
)
def test_what_does_not_belong(root, extra):
    """Hidden files, editors' checkpoints, what macOS leaves in archives."""
    picture(root / extra)
    source = opened(root)
    assert len(source) == 6
    assert source.classes == ("cat", "dog")


def test_a_photograph_called_copy(root):
    """Belongs."""
    picture(root / "train" / "cat" / "cat copy.jpg")
    picture(root / "train" / "cat" / "1-checkpoint.png")
    assert len(opened(root)) == 8


def test_links(root, tmp_path):
    """Are followed; one that leads back into itself is not followed twice."""
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "linked" / split / name
            folder.mkdir(parents=True)
            os.symlink(root / split / name, folder / "batch1")
            os.symlink(folder, folder / "loop")
    source = opened(tmp_path / "linked")
    assert (len(source), source.classes) == (6, ("cat", "dog"))


def test_a_class_without_images(root):
    """Is no class, and is named; one that has images in the other split alone stays."""
    for split in ("train", "test"):
        (root / split / "bird").mkdir()
        (root / split / "fox").mkdir()
    picture(root / "train" / "fox" / "1.png")
    for split in ("train", "test"):
        source = opened(root, split)
        assert source.classes == ("cat", "dog", "fox")
        assert "no image is in it: bird" in source.notes[0]


@pytest.mark.parametrize("names", [("Training", "Testing"), ("TRAIN", "Test"), ("trn", "tst")])
def test_usual_names_of_splits(root, names):
    """In any case."""
    for split, name in zip(("train", "test"), names, strict=True):
        os.rename(root / split, root / f"x{split}")
        os.rename(root / f"x{split}", root / name)
    assert (len(opened(root)), len(opened(root, "test"))) == (6, 2)
    assert opened(root).classes == ("cat", "dog")


def test_two_folders_for_one_split(root):
    """Nobody guesses."""
    os.rename(root / "train", root / "Training")
    picture(root / "TRAIN" / "cat" / "1.png")
    with pytest.raises(UserError, match="TRAIN and Training for the split 'train'"):
        opened(root)


def test_one_level_too_high(root):
    """The folder that was meant is named."""
    os.rename(root, root.parent / "inner")
    picture(root.parent / "outer" / "x.txt.png")
    os.remove(root.parent / "outer" / "x.txt.png")
    os.rename(root.parent / "inner", root.parent / "outer" / "dataset")
    with pytest.raises(UserError, match=r"its folder dataset has splits. Name that"):
        opened(root.parent / "outer")


def test_frames_are_in_natural_order(tmp_path):
    """1 to 12: not 1, 10, 11, 12, 2."""
    for i in range(1, 13):
        picture(tmp_path / "train" / "left" / "clip" / f"{i}.png", i)
    clip = clips.open_clips(f"clips:{tmp_path}", "train")[0]["clip"]
    frames = clip.read(np.arange(12))
    assert frames[:, 0, 0, 0].tolist() == list(range(1, 13))


@given(numbers=st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True))
def test_natural_order_of_any_numbers(numbers):
    """With and without leading zeros."""
    for form in ("frame_{}.png", "{:09d}.jpg", "a {} b.png"):
        paths = [Path(form.format(number)) for number in numbers]
        wanted = [Path(form.format(number)) for number in sorted(numbers)]
        assert folders.natural(paths) == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_names_of_any_bytes(root):
    """A name that is no text is read, and can be printed."""
    name = b"caf\xe9 \xff[bold].png"
    picture(root / "train" / "cat" / "plain.png")
    folder = os.fsencode(root / "train" / "cat")
    os.rename(os.path.join(folder, b"plain.png"), os.path.join(folder, name))
    assert len(opened(root)) == 7
    source = open_source(f"images:{root / 'train' / 'cat'}", "train")
    names = [source[i]["name"] for i in range(len(source))]
    assert r"caf\xe9 \xff[bold].png" in names
    for one in names:
        one.encode()


X = np.zeros((8, 6, 6, 3), np.uint8)
Y = np.arange(8) % 2


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_train": X, "y_train": Y * 10**12}, "go up to 1000000000000, but there is no 1"),
        ({"x_train": X, "y_train": Y * 2}, "go up to 2, but there is no 1"),
        ({"x_train": X, "y_train": Y - 1}, "labels from 0 on in .*, got -1"),
        ({"x_train": X, "y_train": Y * 1.0}, "8 integers from 0 on"),
        ({"x_train": X, "y_train": Y[:5]}, "8 integers from 0 on"),
        ({"x_train": X[:0], "y_train": Y[:0]}, "holds no images"),
        (
            {"x_train": X, "y_train": Y + 3, "class_names": np.array(["a", "b"])},
            "holds class 4; class_names has 2 names",
        ),
        ({"x_train": X[0, 0], "y_train": Y}, "Expected .*x_train. of shape"),
    ],
)
def test_labels_of_an_npz(tmp_path, arrays, words):
    """Are checked before anything is made for each class."""
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UserError, match=words):
        open_source(f"npz:{tmp_path / 'x.npz'}", "train")


def test_classes_that_one_split_lacks(tmp_path):
    """Count all the same; stated names may have gaps."""
    arrays = {"x_train": X, "y_train": Y, "x_test": X[:2], "y_test": np.array([2, 2])}
    np.savez(tmp_path / "x.npz", **arrays)
    for split in ("train", "test"):
        assert open_source(f"npz:{tmp_path / 'x.npz'}", split).classes == ("0", "1", "2")
    np.savez(tmp_path / "y.npz", x_train=X, y_train=Y * 2, class_names=np.array(list("abc")))
    assert open_source(f"npz:{tmp_path / 'y.npz'}", "train").classes == ("a", "b", "c")


def test_archives_that_are_none(tmp_path):
    """One array, and one damaged in the middle."""
    np.save(tmp_path / "one.npy", X)
    with pytest.raises(UserError, match=r"one array without a name \(np\.save\)"):
        open_source(f"npz:{tmp_path / 'one.npy'}", "train")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, X.shape).astype(np.uint8)
    np.savez_compressed(tmp_path / "damaged.npz", x_train=noise, y_train=Y)
    data = bytearray((tmp_path / "damaged.npz").read_bytes())
    for i in range(300, 360):
        data[i] ^= 0x5A
    (tmp_path / "damaged.npz").write_bytes(data)
    with pytest.raises(UserError, match=r"damaged\.npz could not be read"):
        open_source(f"npz:{tmp_path / 'damaged.npz'}", "train")


def test_classes_that_differ_are_named():
    """Both ways."""
    found = folders.differing(("cat", "dog"), ("cat", "fox"), ("train", "test"))
    assert found == "only train has dog; only test has fox"
    assert (
        folders.differing(("a", "b"), ("b", "a"), ("train", "test")) == "they are in another order"
    )
