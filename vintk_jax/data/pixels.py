"""What pixels mean: one rule for files, arrays, and what a program hands in.

A picture is uint8, (height, width, 3), upright. Other types are scaled by the range of their type,
never by the values that happen to be there. 16-bit integers are divided by 65,535. Floats go from 0
to 1, and a value beyond 1 is refused. A type without a range of its own is refused by name, unless
a range is stated.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from vintk_jax.errors import UserError

# What Pillow raises for files that aren't whole pictures.
UNREADABLE = (
    OSError,
    UnidentifiedImageError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
)
# Pillow's names of pictures with more than 8 bits a channel, which its own conversion would clip.
_WIDE = {"I;16", "I;16L", "I;16B", "I;16N", "I", "F"}
_BY_TYPE = {"uint8": 255, "uint16": 65_535, "float16": 1, "float32": 1, "float64": 1}
_FLOATS = "floats from 0 to 1"
_ORIENTATION = 0x0112  # of EXIF: 1 is upright
# What turns a picture of that orientation upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# TIFF's tags: bits of a sample, whether 0 is white, and whether numbers are signed.
_BITS = 258
_PHOTOMETRIC = 262
_FORMAT = 339


def to_uint8(
    values: np.ndarray, what: str, value_range: tuple[int | float, int | float] | None = None
) -> UInt8[np.ndarray, "*shape"]:
    """Values of any type as bytes.

    Args:
        what: they are, for the error.
        value_range: the values that mean black and white; None: by their type.

    Raises:
        UserError: for a type without a range of its own, and for values outside the range, NaN
            among them.
    """
    if values.dtype == np.uint8 and value_range is None:
        return values
    if value_range is None:
        if values.dtype.name not in _BY_TYPE:
            raise UserError(
                f"{what} holds {values.dtype} values, which have no range of their own. Expected "
                f"uint8, uint16, or {_FLOATS}. Convert it, so that black is 0 and white 255."
            )
        value_range = (0.0, float(_BY_TYPE[values.dtype.name]))
    low, high = value_range
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise UserError(
            f"Expected a range of two numbers, the first below the second, for {what}, got "
            f"{value_range}."
        )
    least, most = (values.min(), values.max()) if values.size else (low, high)
    if not (low <= least and most <= high):  # also for NaN
        raise UserError(
            f"{what} holds {values.dtype} values from {least:g} to {most:g}. Expected "
            f"{low:g} to {high:g}, as its type has it. Scale it, so that black is {low:g} and "
            f"white {high:g}."
        )
    scaled = (values.astype(np.float64) - low) * (255 / (high - low))
    return np.round(scaled).astype(np.uint8)


def as_rgb(image: np.ndarray, what: str = "an image") -> UInt8[np.ndarray, "height width 3"]:
    """A picture of one or three channels, or without an axis for them, with three (see `to_uint8`).

    Raises:
        UserError: for other shapes and what `to_uint8` refuses.
    """
    planes = image[..., None] if image.ndim == 2 else image
    if planes.ndim != 3 or planes.shape[-1] not in (1, 3):
        raise UserError(
            f"Expected {what} of shape (height, width, 3), (height, width, 1) or (height, width), "
            f"got {image.shape}."
        )
    planes = to_uint8(planes, what)
    return planes if planes.shape[-1] == 3 else np.repeat(planes, 3, axis=-1)


def of_picture(picture: Image.Image, path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels of an opened picture, turned as its EXIF data says. Of several frames it is the first.

    Raises:
        UserError: naming the file, for pixels that mean nothing.
    """
    wide = picture.mode in _WIDE
    turn = _UPRIGHT.get(orientation(picture))
    signed = _tiff_tag(picture, _FORMAT, 1) == 2
    if signed:
        raise UserError(
            f"{path} holds signed integers, which have no range of their own. Expected unsigned "
            "ones, or floats from 0 to 1. Convert it, so that black is 0."
        )
    upright = picture if turn is None else picture.transpose(turn)
    if not wide:
        return np.asarray(upright.convert("RGB"))
    values = np.asarray(upright)
    if picture.mode == "I" and picture.format in ("PNG", "PPM"):
        values = values.astype(np.uint16)  # what these have of more than 8 bits is 16
    bits = _tiff_tag(picture, _BITS, 16)
    if values.dtype.kind == "u" and 8 < bits < 16:
        values = to_uint8(values, str(path), (0, 2**bits - 1))
    rgb = as_rgb(values, str(path))
    return 255 - rgb if _tiff_tag(picture, _PHOTOMETRIC, 1) == 0 else rgb


def _tiff_tag(picture: Image.Image, tag: int, default: int) -> int:
    """A number that a TIFF says of its samples, or the default for pictures of another kind."""
    value = getattr(picture, "tag_v2", {}).get(tag, default)
    return value[0] if isinstance(value, tuple) else value


def orientation(picture: Image.Image) -> int:
    """How a picture lies, by its EXIF data. 1 (upright) where that says nothing or nonsense."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except UNREADABLE:
        return 1
    return value if isinstance(value, int) and value in _UPRIGHT else 1


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels of an image file, upright.

    Raises:
        UserError: naming the file, when it can't be read, or its values have no meaning.
    """
    try:
        with Image.open(path) as picture:
            return of_picture(picture, path)
    except UserError:
        raise
    except UNREADABLE as error:
        raise UserError(
            f"{path} can't be read as an image ({error}). Mend or remove it; the same command goes "
            "on."
        ) from error


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Height and width of a picture once it is turned as its EXIF data says."""
    turned = orientation(picture) >= 5  # those with sides exchanged
    width, height = picture.size
    return (width, height) if turned else (height, width)


def check_batch(images: Any, shape: tuple[int, ...]) -> None:
    """Refuse a batch that a model would take for something else.

    Args:
        images: what a program handed in: an array of NumPy, of JAX, or anything like it.
        shape: of one image, or of one clip.

    Raises:
        UserError: for another type than uint8, and for other shapes.
    """
    dtype = getattr(images, "dtype", None)
    came = getattr(images, "shape", None)
    if dtype is None or came is None:
        raise UserError(f"Expected an array of images, got {type(images).__name__}.")
    if dtype != np.uint8:
        raise UserError(
            f"Expected uint8 images, from 0 to 255, got {dtype}. Convert them: "
            "vintk_jax.data.pixels.to_uint8(images, 'my images') does, by the range of their type."
        )
    if len(came) != len(shape) + 1 or tuple(came[1:]) != tuple(shape):
        wanted = ", ".join(map(str, shape))
        raise UserError(f"Expected images of shape (n, {wanted}), got {tuple(came)}.")
