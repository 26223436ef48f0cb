"""Maps of pixels' classes: values that no byte holds, and names that two pictures share."""

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import ml_collections
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from vintk_jax.command_line import Invocation
from vintk_jax.data.pairs import IGNORED, Labels, open_pairs
from vintk_jax.errors import UserError
from vintk_jax.inference import maps as maps_of_classes
from vintk_jax.inference import segmenting


def pair(root, values, ending="png"):
    """A picture and a map of one row, the map saved under a name that ends in png."""
    for part in ("train", "trainannot"):
        (root / part).mkdir(parents=True, exist_ok=True)
    width = np.shape(values)[1]
    Image.fromarray(np.zeros((1, width, 3), np.uint8)).save(root / "train" / "a.png")
    path = root / "trainannot" / f"a.{ending}"
    Image.fromarray(np.asarray(values)).save(path)
    os.replace(path, path.with_suffix(".png"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, -3]], np.int32), r"got -3 \(int32\)"),
        (np.array([[0, 256]], np.int32), r"got 256 \(int32\)"),
        (np.array([[0, 0.7]], np.float32), r"got 0\.7 \(float32\)"),
        (np.array([[0, np.nan]], np.float32), r"got nan \(float32\)"),
        (np.array([[0, np.inf]], np.float32), r"got inf \(float32\)"),
    ],
)
def test_values_that_no_byte_holds(tmp_path, values, words):
    """Are refused; they don't become another class."""
    pair(tmp_path, values, "tif")
    with pytest.raises(UserError, match=rf"a\.png to hold whole values from 0 to 255.*{words}"):
        open_pairs(f"pairs:{tmp_path}", "train", Labels())


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, bool])
def test_whole_values_of_any_type(tmp_path, dtype):
    pair(tmp_path, np.array([[0, 1]], dtype), "tif")
    source = open_pairs(f"pairs:{tmp_path}", "train", Labels())
    assert source[0]["label"].tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0, 300), "got 300 as a class"),
        ((-1, 0), "got -1 as a class"),
        ((1.5, 2), r"got 1\.5 as a class"),
        ((True, 2), "got True as a class"),
        ((1, 1), "got 1 twice"),
    ],
)
def test_labels_that_are_no_values_of_maps(values, words):
    """Whole numbers from 0 to 255, all different."""
    with pytest.raises(UserError, match=rf"Expected segmentation\.labels .*{words}"):
        Labels(values)


def test_labels_at_the_ends_of_a_byte():
    assert Labels((255, 0), ()).table()[[255, 0, 1]].tolist() == [0, 1, IGNORED]


@pytest.mark.parametrize(
    ("pictures", "maps"),
    [
        (["a.jpg", "b/a.png", "c.png"], ["a.png", "b/a.png", "c.png"]),
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg.png", "a.png.png", "b.png"]),
        (["a.jpg", "a.jpg.png", "a.png"], ["a.jpg.png", "a.jpg.png.png", "a.png.png"]),
        (["x.y.jpg", "x.y.tif", "x.png"], ["x.y.jpg.png", "x.y.tif.png", "x.png"]),
    ],
)
def test_names_of_maps(pictures, maps):
    """A map has the picture's whole name where two would share one, and no two ever do."""
    got = maps_of_classes.names_of_maps([Path(name) for name in pictures])
    assert [str(name) for name in got] == maps


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """A function that predicts on tmp_path/pictures, class 1 where red is above 127; what is
    printed.
    """
    trained_by = ml_collections.ConfigDict(
        {
            "segmentation": {"labels": (0, 7), "height": 4, "width": 4},
            "data": {"image_size": 4, "test_split": "test"},
        }
    )
    config = ml_collections.ConfigDict(
        {
            "checkpoint": "last",
            "data": {
                "source": f"images:{tmp_path / 'pictures'}",
                "batch_size": 2,
                "threads": 0,
            },
        }
    )

    def made(model, length):
        def apply(params, images):
            bright = (images[..., :1] > 127).astype("float32")
            return bright * np.array([0, 2]) + np.array([1, 0])

        return apply

    monkeypatch.setattr(segmenting, "read_claimed", lambda workdir, by: trained_by)
    monkeypatch.setattr(
        segmenting,
        "load_trained",
        lambda *given: (SimpleNamespace(model=None), {"w": np.zeros(1)}, ("dark", "bright"), 0),
    )
    monkeypatch.setattr(segmenting, "predict_of", lambda trained: made)
    invocation = Invocation(config, tmp_path / "run", False, "infer")
    (tmp_path / "run" / "maps").mkdir(parents=True)

    def call():
        console = Console(record=True, width=200, file=io.StringIO())
        segmenting.predict_segments(invocation, console)
        return console.export_text()

    return call


def save(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        Image.fromarray(np.full((2, 3, 3), value, np.uint8)).save(file, format="png")


def maps(folder):
    """By name, the one value that a map holds."""
    return {
        name: np.unique(np.asarray(Image.open(os.path.join(folder, name)))).tolist()
        for name in os.listdir(folder)
        if not name.startswith(".")
    }


def test_pictures_of_one_name(tmp_path, predict):
    """Both have their maps, and that is told once; a second run has nothing to do."""
    save(tmp_path / "pictures" / "a.jpg", 0)
    save(tmp_path / "pictures" / "a.png", 200)
    save(tmp_path / "pictures" / "b.png", 200)
    told = predict()
    assert maps(tmp_path / "run" / "maps") == {"a.jpg.png": [0], "a.png.png": [7], "b.png": [7]}
    assert told.count("whole name (a.jpg: a.jpg.png)") == 1
    assert "3 maps" in told
    before = (tmp_path / "run" / "maps" / ".made.jsonl").read_bytes()
    assert "made again" not in predict()
    assert (tmp_path / "run" / "maps" / ".made.jsonl").read_bytes() == before


def test_a_map_that_was_another_pictures(tmp_path, predict):
    """Of a run that wrote both to one name, what is there is the last one's: it is made again."""
    save(tmp_path / "pictures" / "a.jpg", 0)
    assert "whole name" not in predict()
    assert maps(tmp_path / "run" / "maps") == {"a.png": [0]}
    os.remove(tmp_path / "pictures" / "a.jpg")
    save(tmp_path / "pictures" / "a.png", 200)
    assert "1 map(s) that were there" in predict()
    os.remove(tmp_path / "pictures" / "a.png")
    save(tmp_path / "pictures" / "a.jpg", 0)
    assert "1 map(s) that were there" in predict()
    assert maps(tmp_path / "run" / "maps") == {"a.png": [0]}


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_a_picture_whose_name_is_no_text(tmp_path, predict):
    """Has its map, under its own name; one that is called as the other is printed has another."""
    save(os.fsencode(tmp_path / "pictures") + b"/caf\xe9.png", 200)
    save(tmp_path / "pictures" / "caf\\xe9.png", 0)
    save(tmp_path / "pictures" / "[red]\u00e9.png", 200)
    assert "3 maps" in predict()
    assert maps(os.fsencode(tmp_path / "run" / "maps").decode(errors="surrogateescape")) == {
        "caf\udce9.png": [7],
        "caf\\xe9.png": [0],
        "[red]\u00e9.png": [7],
    }
    assert "made again" not in predict()
