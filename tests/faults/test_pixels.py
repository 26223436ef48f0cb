"""Pixels mean what the file says: what is given, and what is wanted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vintk_jax.data import pixels
from vintk_jax.data.sources import open_source
from vintk_jax.errors import UserError

TURNS = {  # EXIF's orientation: what makes the stored picture upright
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation(tmp_path, orientation):
    """A quarter of the picture is white; which one is upper left depends on the orientation."""
    stored = np.zeros((16, 24, 3), np.uint8)
    stored[:8, :12] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    wanted = TURNS[orientation](stored)
    np.testing.assert_array_equal(pixels.read_image(tmp_path / "x.png"), wanted)
    with Image.open(tmp_path / "x.png") as picture:
        assert pixels.upright_size(picture) == wanted.shape[:2]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits(tmp_path, suffix):
    """By the range of the type, and not clipped: dark stays dark."""
    values = np.arange(0, 65_536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / f"x{suffix}")
    found = pixels.read_image(tmp_path / f"x{suffix}")
    np.testing.assert_array_equal(found[..., 0], np.arange(256).reshape(16, 16))
    np.testing.assert_array_equal(found[..., 0], found[..., 2])


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([0.0, 0.5, 1.0], np.float32), [0, 128, 255]),
        (np.array([0.0, 0.5, 1.5], np.float32), "from 0 to 1.5. Expected 0 to 1"),
        (np.array([0.0, np.nan, 1.0]), "Expected 0 to 1"),
        (np.array([-0.1, 0.5]), "from -0.1"),
        (np.array([0, 200, 255]), "int64 values, which have no range of their own"),
        (np.array([0, 65_535], np.uint16), [0, 255]),
        (np.array([0, 255], np.uint16), [0, 1]),  # not by the values that happen to be there
        (np.array([True, False]), "bool values"),
        (np.array([1 + 1j]), "complex128 values"),
    ],
)
def test_values_of_other_types(values, wanted):
    if isinstance(wanted, str):
        with pytest.raises(UserError, match=wanted.replace(".", r"\.")):
            pixels.to_uint8(values, "my images")
    else:
        np.testing.assert_array_equal(pixels.to_uint8(values, "my images"), wanted)


def test_a_stated_range():
    """What has no range of its own is read with one."""
    values = np.array([-1024, 0, 1024])  # of a scanner
    found = pixels.to_uint8(values, "scans", (-1024, 1024))
    np.testing.assert_array_equal(found, [0, 128, 255])
    with pytest.raises(UserError, match=r"from -1024 to 1024\. Expected 0 to 1000"):
        pixels.to_uint8(values, "scans", (0, 1000))


def test_float_pictures(tmp_path):
    """Within 0 and 1 they are scaled, beyond they are refused by name."""
    for name, top in (("fine", 1.0), ("wild", 900.0)):
        values = np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)
        Image.fromarray(values).save(tmp_path / f"{name}.tiff")
    assert pixels.read_image(tmp_path / "fine.tiff").max() == 255
    with pytest.raises(UserError, match=r"wild\.tiff holds float32 values from 0 to 900"):
        pixels.read_image(tmp_path / "wild.tiff")


@given(
    shape=st.lists(st.integers(0, 5), min_size=0, max_size=5).map(tuple),
    dtype=st.sampled_from(["uint8", "uint16", "int8", "float32", "float64", "bool"]),
)
def test_batches_of_any_shape_and_type(shape, dtype):
    """A model takes uint8 of its own shape and nothing else: nothing is stretched, cut or scaled
    without a word.
    """
    wanted = (4, 4, 3)
    batch = np.zeros(shape, dtype)
    fits = dtype == "uint8" and len(shape) == 4 and shape[1:] == wanted
    if fits:
        pixels.check_batch(batch, wanted)
    else:
        with pytest.raises(UserError, match="Expected"):
            pixels.check_batch(batch, wanted)


@given(shape=st.lists(st.integers(1, 5), min_size=0, max_size=4).map(tuple))
def test_pictures_of_any_shape(shape):
    """Two axes, or one or three channels."""
    fits = len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3))
    if fits:
        assert pixels.as_rgb(np.zeros(shape, np.uint8)).shape == (*shape[:2], 3)
    else:
        with pytest.raises(UserError, match="Expected an image of shape"):
            pixels.as_rgb(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    ("name", "dtype", "wanted"),
    [("floats", "float32", 128), ("wide", "uint16", 128), ("signed", "int64", None)],
)
def test_npz_of_other_types(tmp_path, name, dtype, wanted):
    """An archive keeps the same rule."""
    half = {"float32": 0.5, "uint16": 32_896, "int64": 128}[dtype]
    x = np.full((4, 6, 6, 3), half, dtype)
    np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=np.arange(4) % 2)
    if wanted is None:
        with pytest.raises(UserError, match=r"signed\.npz\[x_train\] holds int64 values"):
            open_source(f"npz:{tmp_path / 'signed.npz'}", "train")
    else:
        assert (
            open_source(f"npz:{tmp_path / f'{name}.npz'}", "train")[0]["image"][0, 0, 0] == wanted
        )
