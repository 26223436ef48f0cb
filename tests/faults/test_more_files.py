"""What files and names of data sets may hold, beyond tests/faults/test_files.py."""

import os
import struct

import numpy as np
import pytest
from PIL import Image

from vintk_jax.data import archives, folders, identity, inputs, pixels
from vintk_jax.data.pairs import Labels, open_pairs
from vintk_jax.data.sources import in_common, open_source
from vintk_jax.errors import UserError

GREY = np.arange(36, dtype=np.uint16).reshape(6, 6) * 100


def tiff(path, values, bits, photometric=1, sample_format=1):
    """A TIFF of one strip, by hand: what Pillow doesn't write."""
    body = values.tobytes()
    height, width = values.shape
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(body))]
    tags += [(339, 3, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(body))
    path.write_bytes(start + body + struct.pack("<H", len(tags)) + entries + bytes(4))
    return path


def test_tiffs_mean_what_their_tags_say(tmp_path):
    """0 may be white, and signed numbers have no black."""
    white = tiff(tmp_path / "a.tif", np.array([[0, 65_535]], np.uint16), 16, photometric=0)
    np.testing.assert_array_equal(pixels.read_image(white)[0, :, 0], [255, 0])
    black = tiff(tmp_path / "b.tif", np.array([[0, 65_535]], np.uint16), 16)
    np.testing.assert_array_equal(pixels.read_image(black)[0, :, 0], [0, 255])
    signed = tiff(tmp_path / "c.tif", np.array([[-5, 7]], np.int16), 16, sample_format=2)
    with pytest.raises(UserError, match=r"c\.tif"):
        pixels.read_image(signed)


@pytest.mark.parametrize("value", [0, 9, 100, 65_535])
def test_orientations_that_are_none(tmp_path, value):
    """The picture is as it is, and its size is that of its pixels."""
    exif = Image.Exif()
    exif[0x0112] = value
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert pixels.read_image(tmp_path / "a.jpg").shape == (4, 6, 3)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert pixels.upright_size(picture) == (4, 6)


@pytest.mark.parametrize("value", range(1, 9))
def test_orientations_are_pillows(tmp_path, value):
    """Each of the eight turns as Pillow's own function does."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = value
    made = np.random.default_rng(0).integers(0, 255, (4, 6, 3)).astype(np.uint8)
    Image.fromarray(made).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as picture:
        wanted = np.asarray(ImageOps.exif_transpose(picture))
        assert pixels.upright_size(picture) == wanted.shape[:2]
    np.testing.assert_array_equal(pixels.read_image(tmp_path / "a.png"), wanted)


@pytest.mark.parametrize("given", [(1, 1), (0, np.inf), (2, 1), (np.nan, 1)])
def test_ranges_that_are_none(given):
    """Instead of a division by zero, or of all black."""
    with pytest.raises(UserError, match="range of two numbers"):
        pixels.to_uint8(GREY, "it", given)


def coloured(folder, *names):
    """A folder of class folders with two pictures each."""
    for i, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for j in range(12):
            Image.new("RGB", (8, 8), (50 * i, 9 * j, 0)).save(folder / name / f"{j}.png")


@pytest.mark.parametrize(
    ("made", "split", "said"),
    [
        (["dataset/cat", "dataset/dog"], "train", "folders in it: cat, dog"),
        (["a/b/train/cat", "a/b/test/cat"], "train", "its folder a/b has splits"),
        (["data/train/cat", "data/test/cat", "docs/x"], "train", "its folder data has splits"),
        (["train/images/cat", "train/images/dog"], "train", "folders in it: cat, dog"),
    ],
)
def test_one_level_too_high(tmp_path, made, split, said):
    """Is named, however deep, with or without splits."""
    coloured(tmp_path, *made)
    with pytest.raises(UserError, match=said):
        open_source(f"folder:{tmp_path}", split)


def test_one_split_by_two_names(tmp_path):
    """Images in common are counted however the split is written, also through a link."""
    coloured(tmp_path, "train/cat", "train/dog", "test/cat", "test/dog")
    (tmp_path / "val").symlink_to("train")
    where = f"folder:{tmp_path}"
    for name in ("Train", "TRAIN", "training", "val"):
        assert in_common(where, f"{name}[:50%]", "train") == 12
    assert in_common(where, "test", "train") == 0
    assert len(open_source(where, "training")) == len(open_source(where, "train"))


def test_pairs_of_a_split_by_another_name(tmp_path):
    """As for folders: in any case, by what people call it; one level too high is named."""
    for part in ("images/Training", "Labels/Training"):
        (tmp_path / "set" / part).mkdir(parents=True)
        made = np.zeros((8, 8), np.uint8) if "Labels" in part else np.zeros((8, 8, 3), np.uint8)
        Image.fromarray(made).save(tmp_path / "set" / part / "a.png")
    where = f"pairs:{tmp_path / 'set'}"
    assert len(open_pairs(where, "train", Labels((), ()))) == 1
    kinds = {"pairs": lambda path, split: open_pairs(f"pairs:{path}", split, Labels((), ()))}
    assert in_common(where, "Training[:100%]", "train", kinds) == 1
    with pytest.raises(UserError, match="its folder set has"):
        open_pairs(f"pairs:{tmp_path}", "train", Labels((), ()))


def test_links_to_nowhere_and_pipes(tmp_path):
    """A link to nowhere is a broken image, named where it is read; a pipe isn't waited for."""
    coloured(tmp_path, "cat")
    (tmp_path / "cat" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "cat" / "self.png").symlink_to("self.png")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    names = [path.name for path in folders.files_below(tmp_path)]
    assert "pipe.png" not in names
    assert {"gone.png", "self.png"} <= set(names)
    source = open_source(f"images:{tmp_path}", "")
    assert source.identity == open_source(f"images:{tmp_path}", "").identity
    with pytest.raises(UserError, match=r"gone\.png can't be read"):
        source[names.index("gone.png")]
    assert identity.of_files([tmp_path / "nowhere"]) != identity.of_files([])


@pytest.mark.parametrize(
    "where", ["folder:~nobody-at-all/x", "npz:~nobody-at-all/x", "folder:a\0b"]
)
def test_paths_that_cannot_be(where):
    """One message."""
    with pytest.raises(UserError, match="Expected a path"):
        open_source(where, "train")


@pytest.mark.parametrize("part", ["train[-:]", "train[%:]", "train[:-]", "train[-%:]", "train[:x]"])
def test_parts_that_cannot_be_read(part):
    """One message."""
    with pytest.raises(UserError, match="Expected a split such as train"):
        open_source("digits", part)


X = np.zeros((6, 4, 4, 3), np.uint8)
Y = np.arange(6) % 3


def saved(path, **arrays):
    """A set of six images of three classes."""
    np.savez(path / "a.npz", **{"x_train": X, "y_train": Y, **arrays})
    return f"npz:{path / 'a.npz'}"


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x_test": X, "y_test": np.eye(3)[Y]}, r"y_test\] .*got float64\(6, 3\)"),
        ({"x_test": X, "y_test": Y > 0}, r"y_test\] .*got bool"),
        ({"x_test": X, "y_test": np.full(6, np.nan)}, r"y_test\] .*got float64"),
        ({"class_names": np.array("cat")}, "Expected class_names"),
        ({"class_names": np.array([["a", "b"]])}, "Expected class_names"),
        ({"class_names": np.arange(3)}, "Expected class_names"),
        ({"x_train": np.zeros((6, 0, 4, 3), np.uint8)}, "with pixels"),
    ],
)
def test_arrays_of_labels_and_names(tmp_path, arrays, said):
    """Are checked together, before anything is made of one of them."""
    with pytest.raises(UserError, match=said):
        open_source(saved(tmp_path, **arrays), "train")


def test_names_of_classes(tmp_path):
    """Bytes are text; two classes of one name stay two; what isn't a split's is no label."""
    names = np.array([b"crane", b"crane", b"dog"])
    where = saved(tmp_path, class_names=names, y_names=np.array(["x"]), y_mean=np.float32(1))
    assert open_source(where, "train").classes == ("crane (0)", "crane (1)", "dog")
    assert archives.distinct(["a", "b", "a"]) == ["a (0)", "b", "a (2)"]


def test_a_search_takes_the_images_of_an_npz(tmp_path):
    """Whatever lies ahead of them; what may be several things is asked for."""
    noise = np.random.default_rng(0).integers(0, 255, (6, 4, 4, 3)).astype(np.uint8)
    maps = np.zeros((6, 4, 4), np.uint8)
    np.savez(tmp_path / "a.npz", y_train=maps, other=maps, x_train=noise)
    found = inputs.load(f"npz:{tmp_path / 'a.npz'}", 4, 4, 0).images
    assert len(np.unique(found)) > 20
    np.savez(tmp_path / "b.npz", first=noise, second=noise)
    with pytest.raises(UserError, match="several arrays that may be images: first, second"):
        inputs.load(f"npz:{tmp_path / 'b.npz'}", 4, 4, 0)
    np.savez(tmp_path / "c.npz", photo=noise[0])
    with pytest.raises(UserError, match="one picture with channels"):
        inputs.load(f"npz:{tmp_path / 'c.npz'}", 2, 4, 0)
