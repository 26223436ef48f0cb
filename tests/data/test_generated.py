"""Made images: the same as the generator's, in whatever order, kept and refused when others."""

import time

import numpy as np
import pytest

from vintk_jax import compile_cache
from vintk_jax.data import digits
from vintk_jax.data.generated import Generated


def example(index):
    return np.full((2, 2), index, np.uint8), np.int64(index % 3)


class Counted:
    """A generator that counts what it made."""

    def __init__(self, make=example):
        self.made = 0
        self._make = make

    def __call__(self, index):
        self.made += 1
        return self._make(index)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(compile_cache, "_in_use", tmp_path)
    return tmp_path / "made"


def all_of(made):
    return [[part.tolist() for part in made[i]] for i in range(len(made))]


def test_what_was_made_is_read_by_the_next_and_not_made_again(folder):
    first = Generated("own", ["code"], 20, Counted())
    wanted = [[part.tolist() for part in example(i)] for i in range(20)]
    assert [[part.tolist() for part in first[i]] for i in reversed(range(20))] == wanted[::-1]
    make = Counted()
    again = Generated("own", ["code"], 20, make)
    assert all_of(again) == wanted
    assert make.made <= 9  # the first, and those that are compared
    assert [path.suffix for path in folder.iterdir()] == [".npz"]


def test_nothing_is_written_before_all_are_made(folder):
    made = Generated("own", ["code"], 20, example)
    made[3]
    assert not folder.exists()


def test_other_code_makes_its_own_and_drops_the_older(folder):
    all_of(Generated("own", ["code"], 5, example))
    all_of(Generated("own-dense", ["code"], 5, example))
    make = Counted()
    all_of(Generated("own", ["other code"], 5, make))
    assert make.made == 5
    assert len(list(folder.glob("own-dense-*"))) == 1
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "others", "empty"])
def test_a_damaged_file_is_made_again(folder, damage):
    all_of(Generated("own", ["code"], 12, example))
    (path,) = folder.iterdir()
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        images, labels = (np.stack(parts) for parts in zip(*map(example, range(12)), strict=True))
        np.savez(path, **{"00": images + 1, "01": labels})
    made = Generated("own", ["code"], 12, example)
    assert all_of(made) == [[part.tolist() for part in example(i)] for i in range(12)]


def test_a_folder_that_cannot_be_written_changes_nothing(folder):
    folder.parent.joinpath("made").write_text("a file in its place")
    assert len(all_of(Generated("own", ["code"], 4, example))) == 4


def test_ahead_makes_all_without_being_asked(folder):
    made = Generated("own", ["code"], 50, example)
    made.start()
    until = time.monotonic() + 20
    while not folder.exists() or not list(folder.glob("*.npz")):
        assert time.monotonic() < until
        time.sleep(0.01)
    make = Counted()
    Generated("own", ["code"], 50, make)
    assert make.made <= 9


def test_digits_are_the_scenes(folder, monkeypatch):
    monkeypatch.setitem(digits.COUNTS, "test", 30)
    for dense in (False, True):
        for _ in range(2):  # made, then read
            source = digits.Digits("test", dense=dense)
            for index in (29, 4, *range(30)):
                scene = digits.scene("test", index)
                np.testing.assert_array_equal(source[index]["image"], scene.image)
                label = source[index]["label"]
                if dense:
                    assert label.dtype == np.uint8
                    assert set(np.unique(label)) <= {0, 1 + scene.label}
                else:
                    assert label == scene.label
    assert len(list(folder.iterdir())) == 2
