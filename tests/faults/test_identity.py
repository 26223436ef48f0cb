"""What is kept between runs is kept by everything it depends on: a source is another one when any
file, image or label of it is.
"""

import os
import time

import numpy as np
import pytest
from PIL import Image

from vintk_jax.data.sources import open_source
from vintk_jax.inference.predictions import Predictions

X = np.random.default_rng(0).integers(0, 255, (8, 6, 6, 3)).astype(np.uint8)
Y = np.arange(8) % 2


def saved(path, **changed):
    np.savez(path, **{"x_train": X, "y_train": Y, **changed})
    return open_source(f"npz:{path}", "train").identity


def test_arrays(tmp_path):
    """The same arrays are the same source, whenever they were saved; one pixel or one label is
    enough for another.
    """
    first = saved(tmp_path / "a.npz")
    assert saved(tmp_path / "b.npz") == first
    pixel = X.copy()
    pixel[5, 2, 2, 1] ^= 1
    assert saved(tmp_path / "c.npz", x_train=pixel) != first
    assert saved(tmp_path / "d.npz", y_train=1 - Y) != first
    assert saved(tmp_path / "e.npz", class_names=np.array(["cat", "dog"])) != first


@pytest.fixture
def root(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(12):
            Image.fromarray(X[i % 8]).save(tmp_path / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("kind", ["folder", "images"])
@pytest.mark.parametrize("change", ["added", "removed", "mended", "renamed"])
def test_folders(root, kind, change):
    """A file more, a file less, other contents under the old name, another name."""
    before = open_source(f"{kind}:{root}", "train").identity
    assert open_source(f"{kind}:{root}", "train").identity == before
    for name in ("cat", "dog"):  # whichever class the split has taken the file of
        for i in range(12):
            path = root / name / f"{i}.png"
            if change == "added":
                Image.fromarray(X[0]).save(root / name / f"new{i}.png")
            elif change == "removed" and i < 9:
                path.unlink()
            elif change == "mended":
                Image.fromarray(X[7 - i % 8]).save(path)
                os.utime(path, ns=(time.time_ns(), time.time_ns()))
            elif change == "renamed":
                path.rename(root / name / f"other{i}.png")
    assert open_source(f"{kind}:{root}", "train").identity != before


def test_parts(tmp_path):
    """Of one source."""
    whole = open_source("digits", "test")
    parts = {open_source("digits", part).identity for part in ("test[:10]", "test[10:20]")}
    assert len(parts | {whole.identity}) == 3
    assert open_source("digits", "test[:10]").identity in parts


def test_unfinished_predictions(tmp_path):
    """Go on with the same key; those of another are seen, and left alone."""
    first = Predictions(tmp_path / "p.jsonl", "one")
    first.add([{"image": 0}])
    first.close()
    again = Predictions(tmp_path / "p.jsonl", "one")
    assert (again.done, again.others) == (1, [])
    again.close()
    other = Predictions(tmp_path / "p.jsonl", "two")
    assert other.done == 0
    assert [path.name for path in other.others] == [".p.jsonl.one.partial"]
    other.close()
