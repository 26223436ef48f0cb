"""Labelled images from wherever they come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vintk_jax.data.sources import folds, in_common, open_source
from vintk_jax.errors import UserError

RNG = np.random.default_rng(0)


def folder_of(root, counts):
    """root/CLASS/i.png for each class; the red channel is the image's number."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.full((6, 5, 3), (i, 0, 0), np.uint8)).save(root / name / f"{i}.png")


@pytest.fixture
def arrays(tmp_path):
    """An npz of 7 and 4 images of 3 classes."""
    path = tmp_path / "set.npz"
    images = RNG.integers(0, 256, (11, 5, 6, 3), np.uint8)
    labels = np.arange(11) % 3
    np.savez(
        path,
        x_train=images[:7],
        y_train=labels[:7],
        x_test=images[7:],
        y_test=labels[7:],
        class_names=np.array(["a", "b", "c"]),
    )
    return path, images, labels


def test_npz(arrays):
    """Images, labels and names as they were saved; grey images come with three channels."""
    path, images, labels = arrays
    train, test = (open_source(f"npz:{path}", split) for split in ("train", "test"))
    assert (len(train), len(test), train.classes) == (7, 4, ("a", "b", "c"))
    np.testing.assert_array_equal(test[1]["image"], images[8])
    assert [train[i]["label"] for i in range(7)] == labels[:7].tolist()
    grey = path.with_name("grey.npz")
    np.savez(grey, x_train=images[..., 0], y_train=labels)
    source = open_source(f"npz:{grey}", "train")
    np.testing.assert_array_equal(source[2]["image"][..., 1], images[2, ..., 0])
    assert source.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("part", "numbers"),
    [
        ("test[:3]", range(3)),
        ("test[-2:]", (1998, 1999)),
        ("test[10:1%]", range(10, 20)),
        ("test[1999:3000]", (1999,)),
        ("test[:2]+test[5:6]", (0, 1, 5)),
    ],
)
def test_parts_of_a_split(part, numbers):
    """tfds's notation, by numbers, from the end, by percent, added up."""
    source = open_source("digits", part)
    whole = open_source("digits", "test")
    assert len(source) == len(numbers)
    for i, number in enumerate(numbers):
        np.testing.assert_array_equal(source[i]["image"], whole[number]["image"])


def test_parts_of_an_npz_saved_class_by_class(tmp_path):
    """Two parts hold each image once, and both hold every class."""
    path = tmp_path / "sorted.npz"
    labels = np.repeat(np.arange(3), 40)
    np.savez(
        path,
        x_train=np.broadcast_to(np.arange(120, dtype=np.uint8)[:, None, None], (120, 4, 4)),
        y_train=labels,
    )
    parts = [open_source(f"npz:{path}", part) for part in ("train[:80%]", "train[80%:]")]
    assert sorted(
        int(part[i]["image"][0, 0, 0]) for part in parts for i in range(len(part))
    ) == list(range(120))
    for part in parts:
        assert {part[i]["label"] for i in range(len(part))} == {0, 1, 2}


@pytest.mark.parametrize(
    ("split", "other", "count"),
    [
        ("test", "train", 0),
        ("test", "test", 2000),
        ("test[:60%]", "test[50%:]", 200),
        ("test[:10]+test[30:40]", "test[5:35]", 10),
    ],
)
def test_images_in_common(split, other, count):
    """Of two splits of one source."""
    assert in_common("digits", split, other) == count


@given(count=st.integers(2, 7), start=st.integers(0, 40), size=st.integers(7, 60))
def test_folds(count, start, size):
    """Each part and the others make up the whole, with nothing in common, in nearly equal sizes."""
    made = folds("digits", f"test[{start}:{start + size}]", count)
    sizes = []
    for part, others in made:
        assert in_common("digits", part, others) == 0
        assert in_common("digits", f"{part}+{others}", f"test[{start}:{start + size}]") == size
        sizes.append(in_common("digits", part, "test"))
    assert sum(sizes) == size
    assert max(sizes) - min(sizes) <= 1


def test_folds_that_cannot_be():
    """Too few, too many, of parts."""
    for split, count in (("test", 1), ("test[:3]", 4), ("test[:3]+test[5:9]", 2)):
        with pytest.raises(UserError, match="folds"):
            folds("digits", split, count)


def test_folder_with_splits(tmp_path):
    """PATH/SPLIT/CLASS/image: classes by name, every image once."""
    folder_of(tmp_path / "train", {"dog": 4, "cat": 3})
    folder_of(tmp_path / "test", {"dog": 1, "cat": 1})
    train = open_source(f"folder:{tmp_path}", "train")
    assert train.classes == ("cat", "dog")
    assert len(open_source(f"folder:{tmp_path}", "test")) == 2
    found = sorted(
        (e["label"], int(e["image"][0, 0, 0])) for e in (train[i] for i in range(len(train)))
    )
    assert found == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3)]


def test_folder_without_splits_holds_a_tenth_out(tmp_path):
    """PATH/CLASS/image: the two splits share no image, lose none, and stay when images are
    added.
    """
    folder_of(tmp_path, {"a": 60, "b": 60})

    def names(split):
        return {
            (e["label"], int(e["image"][0, 0, 0])) for e in open_source(f"folder:{tmp_path}", split)
        }

    train = names("train")
    test = names("test")
    assert not train & test
    assert len(train | test) == 120
    assert 4 <= len(test) <= 24
    Image.fromarray(np.full((6, 5, 3), (99, 0, 0), np.uint8)).save(tmp_path / "a" / "new.png")
    assert test - {(0, 99)} == names("test") - {(0, 99)}


def test_tfds(tmp_path):
    """A set by its name, through tfds.testing.mock_data: random access, labels and their names."""
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=5):
        source = open_source("tfds:cifar10", "train[:80%]")
    assert len(source) == 4
    assert len(source.classes) == 10
    element = source[3]
    assert element["image"].shape == (32, 32, 3)
    assert element["image"].dtype == np.uint8
    assert 0 <= element["label"] < 10


def test_images_without_labels(tmp_path):
    """Every image below a folder by its name; a broken one is named when it is asked for."""
    folder_of(tmp_path, {"x": 2})
    (tmp_path / "broken.png").write_bytes(b"no image")
    source = open_source(f"images:{tmp_path}", "")
    assert len(source) == 3
    assert source[1]["name"] == "x/0.png"
    with pytest.raises(UserError, match=r"broken\.png can't be read"):
        source[0]


@pytest.mark.parametrize(
    ("where", "split", "words"),
    [
        ("digit", "train", "digits, npz:PATH, folder:PATH, tfds:NAME"),
        ("npz:", "train", "npz:PATH"),
        ("digits", "validation", "train, assign, calibrate, test"),
        ("digits", "train[", "got 'train['"),
        ("digits", "train[5:5]", "holds no images"),
        ("npz:/nowhere.npz", "train", "no file /nowhere.npz"),
        ("folder:/nowhere", "train", "no folder /nowhere"),
        ("images:/nowhere", "", "no folder /nowhere"),
    ],
)
def test_what_is_not_there_is_named(where, split, words):
    """One message that says what came and what was wanted."""
    with pytest.raises(UserError) as caught:
        open_source(where, split)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"x_train": np.zeros((3, 4, 4, 3), np.uint8)}, "Expected y_train in"),
        (
            {"x_train": np.full((3, 4, 4, 3), 255.0), "y_train": np.zeros(3, int)},
            "float64 values from 255 to 255",
        ),
        ({"x_train": np.zeros((3, 4)), "y_train": np.zeros(3, int)}, "float64(3, 4)"),
        ({"x_train": np.zeros((3, 4, 4, 3), np.uint8), "y_train": np.zeros(2, int)}, "3 integers"),
        (
            {
                "x_train": np.zeros((3, 4, 4, 3), np.uint8),
                "y_train": np.full(3, 2),
                "class_names": np.array(["a"]),
            },
            "holds class 2",
        ),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, fields, words):
    """Missing, misshapen and impossible arrays are named."""
    np.savez(tmp_path / "bad.npz", **fields)
    with pytest.raises(UserError) as caught:
        open_source(f"npz:{tmp_path / 'bad.npz'}", "train")
    assert words in str(caught.value)
