"""Archives and folders of clips that don't fit together are refused, each array by its name."""

import numpy as np
import pytest
from PIL import Image

from vintk_jax.data.clips import open_clips
from vintk_jax.errors import UserError

FRAMES = np.arange(20, dtype=np.uint8)[:, None, None, None] + np.zeros((20, 4, 4, 3), np.uint8)
RAGGED = {
    "frames": FRAMES,
    "length": np.array([12, 8]),
    "label": np.array([0, 1]),
    "subject": np.array([3, 4]),
}
X = np.zeros((2, 5, 4, 4, 3), np.uint8)


def opened(folder, arrays, split="all"):
    np.savez(folder / "x.npz", **arrays)
    return open_clips(f"npz:{folder / 'x.npz'}", split)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"length": np.array([30, -10])}, r"\[length\] from 1 to the 20 frames .*got 30 \(clip 0"),
        ({"length": np.array([21, 2**64 - 1], np.uint64)}, r"\[length\] from 1 .*got 21"),
        ({"length": np.array([20, 0])}, r"\[length\] from 1 .*got 0 \(clip 1"),
        ({"length": np.array([12, 7])}, r"\[length\] to add up to the 20 frames .*got 19"),
        ({"length": np.array([12.0, 8.0])}, r"\[length\] to hold whole numbers.*float64\(2,\)"),
        ({"length": np.array([True, True])}, r"\[length\] to hold whole numbers.*bool"),
        ({"length": np.array(20)}, r"\[length\] to hold whole numbers.*int64\(\)"),
        ({"length": np.zeros(0, int)}, r"\[length\] to hold whole numbers.*int64\(0,\)"),
        ({"label": np.array([0, 1, 0])}, r"\[label\] to hold 2 integers .*got int64\(3,\)"),
        ({"label": np.array(0)}, r"\[label\] to hold 2 integers .*got int64\(\)"),
        ({"frames": FRAMES[:0]}, r"\[frames\] of shape .*got uint8\(0, 4, 4, 3\)"),
        ({"frames": FRAMES[..., :2]}, r"\[frames\] of shape .*got uint8\(20, 4, 4, 2\)"),
        ({"frames": np.array(0)}, r"\[frames\] of shape .*got int64\(\)"),
    ],
)
def test_clips_one_behind_the_other(tmp_path, changed, words):
    with pytest.raises(UserError, match=words):
        opened(tmp_path, RAGGED | changed)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64])
def test_lengths_of_any_integers(tmp_path, dtype):
    """Unsigned ones, too; frames come from where they begin."""
    source = opened(tmp_path, RAGGED | {"length": np.array([12, 8], dtype)})
    assert source.frames == (12, 8)
    assert source[1]["clip"].read(np.arange(8))[:, 0, 0, 0].tolist() == list(range(12, 20))


@pytest.mark.parametrize("split", ["subject=\u00b2", "subject=\u0663", "subject=--3", "subject="])
def test_conditions_that_are_no_numbers(tmp_path, split):
    """Say so: superscripts are digits by Unicode, and no numbers."""
    with pytest.raises(UserError, match="to be all, or NAME=NUMBER"):
        opened(tmp_path, RAGGED, split)


def test_a_condition_that_nothing_fulfils(tmp_path):
    """Says what there is."""
    with pytest.raises(UserError, match="subject holds 3, 4"):
        opened(tmp_path, RAGGED, "subject=9")
    assert len(opened(tmp_path, RAGGED, "subject=3")) == 1


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x_train": X[:, :0], "y_train": np.arange(2)}, r"\[x_train\] of shape .*\(2, 0, 4, 4, 3"),
        ({"x_train": X[:0], "y_train": np.arange(0)}, r"\[x_train\] of shape .*\(0, 5, 4, 4, 3"),
        ({"x_train": X[0], "y_train": np.arange(2)}, r"\[x_train\] of shape .*\(5, 4, 4, 3"),
        ({"x_train": np.array(0), "y_train": np.arange(2)}, r"\[x_train\] of shape .*int64\(\)"),
        ({"x_train": X, "y_train": np.array(0)}, r"\[y_train\] to hold 2 integers .*got int64\(\)"),
    ],
)
def test_clips_of_equal_lengths(tmp_path, arrays, words):
    with pytest.raises(UserError, match=words):
        opened(tmp_path, arrays, "train")


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((6, 5, 3), np.uint8)).save(path)


def test_a_class_without_clips(tmp_path):
    """Is no class, and is named, whatever else lies in its folder; one that has clips in the other
    split alone stays.
    """
    for split in ("train", "test"):
        for name in ("l", "r"):
            picture(tmp_path / split / name / "one" / "1.png")
        (tmp_path / split / "empty").mkdir()
        (tmp_path / split / "fox" / "nothing").mkdir(parents=True)
        (tmp_path / split / "loose").mkdir()
        picture(tmp_path / split / "loose" / "1.png")  # a frame of no clip
    picture(tmp_path / "train" / "fox" / "one" / "1.png")
    for split, count in (("train", 3), ("test", 2)):
        source = open_clips(f"clips:{tmp_path}", split)
        assert source.classes == ("fox", "l", "r")
        assert len(source) == count
        assert [source[i]["label"] for i in range(count)] == [0, 1, 2][-count:]
        (note,) = source.notes
        assert note.endswith(f"{split}: no class, since no clip is in it: empty, loose.")
