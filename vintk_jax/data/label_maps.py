"""Maps of labels: a class for each pixel, in a file or an array, and what their values mean."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image, ImageOps

from vintk_jax.data import pixels
from vintk_jax.errors import UserError

IGNORED = 255  # in a map of labels: a pixel that has no class


@dataclasses.dataclass(frozen=True)
class Labels:
    """What the values in maps mean.

    Attributes:
        values: the value of each class, in the classes' order, each once; empty: 0, 1, 2, ... up to
            the largest that there is.
        ignore: values of pixels that have no class.
        names: of the classes; empty: their values.

    Raises:
        UserError: for values that no map of bytes holds, one that is there twice or is ignored as
            well, and names of another number.
    """

    values: tuple[int, ...] = ()
    ignore: tuple[int, ...] = (IGNORED,)
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.names and self.values and len(self.names) != len(self.values):
            raise UserError(
                f"Expected as many segmentation.names as segmentation.labels, got "
                f"{len(self.names)} names and {len(self.values)} values."
            )
        for value in self.values:
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or not 0 <= value <= 255 or self.values.count(value) > 1:
                fault = "twice" if self.values.count(value) > 1 else "as a class"
                raise UserError(
                    "Expected segmentation.labels to be whole numbers from 0 to 255, all "
                    f"different, got {value!r} {fault}. Name the value of each class once."
                )
        if len(self.values) > IGNORED or set(self.values) & set(self.ignore):
            raise UserError(
                "Expected fewer than 255 segmentation.labels, none of which is ignored as well, "
                f"got {self.values} and segmentation.ignore={self.ignore}."
            )

    def with_values_of(self, there: Integer[np.ndarray, " n"]) -> "Labels":
        """The same with values. Where none were given, they are all up to the largest that is
        there.
        """
        if self.values:
            return self
        largest = max((int(value) for value in there if value not in self.ignore), default=0)
        count = len(self.names) or largest + 1
        values = tuple(value for value in range(count) if value not in self.ignore)
        return dataclasses.replace(self, values=values)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.names or tuple(map(str, self.values))

    def table(self) -> UInt8[np.ndarray, " 256"]:
        """The class of each value of a byte. It is `IGNORED` for values that are ignored or mean
        nothing.
        """
        table = np.full(256, IGNORED, np.uint8)
        table[list(self.values)] = np.arange(len(self.values))
        return table

    def unknown(self, values: Integer[np.ndarray, " n"]) -> list[int]:
        """Those among some values that are neither classes nor ignored."""
        return sorted(set(values.tolist()) - set(self.values) - set(self.ignore))


def ranges(values: Sequence[int]) -> str:
    """0 to 10, or the values one by one."""
    several = len(values) > 2 and list(values) == list(range(values[0], values[-1] + 1))
    return f"{values[0]} to {values[-1]}" if several else ", ".join(map(str, values)) or "nothing"


def read_map(path: Path) -> UInt8[np.ndarray, "height width"]:
    """The values of a map of labels. A picture in palette colours gives the palette's numbers.

    Raises:
        UserError: when it can't be read, has several channels, or values that aren't whole or not
            from 0 to 255.
    """
    try:
        with Image.open(path) as image:
            values = np.asarray(ImageOps.exif_transpose(image))
    except pixels.UNREADABLE as error:
        raise UserError(f"{path} can't be read as an image ({error}).") from error
    if values.ndim != 2:
        raise UserError(
            f"Expected a map of labels in {path}, one value from 0 to 255 a pixel, got "
            f"{values.dtype}{values.shape}."
        )
    _check_bytes(values, str(path))
    return values.astype(np.uint8)


def _check_bytes(values: np.ndarray, what: str) -> None:
    """Refuse values of a map that a byte can't hold: they would wrap around or be cut off."""
    fits = (values >= 0) & (values <= 255)  # not NaN either
    if np.issubdtype(values.dtype, np.floating):
        fits &= values == np.floor(values)
    if not fits.all():
        wrong = values[~fits][0].item()
        raise UserError(
            f"Expected {what} to hold whole values from 0 to 255, one a pixel, got {wrong:g} "
            f"({values.dtype}). Save the map as 8-bit gray or palette."
        )


def examine(pair: tuple[Path, Path]) -> tuple[Integer[np.ndarray, " n"], str]:
    """The values that the map of a pair of files holds, and what is wrong with the pair."""
    image, label = pair
    if not label.is_file():
        return np.zeros(0, int), f"{image} has no label {label}"
    try:
        values = read_map(label)
        with Image.open(image) as opened:
            size = pixels.upright_size(opened)
    except UserError as error:
        return np.zeros(0, int), str(error)
    except pixels.UNREADABLE as error:
        return np.zeros(0, int), f"{image} can't be read as an image ({error})"
    if size != values.shape:
        return (
            np.zeros(0, int),
            f"{image} is {size[1]} x {size[0]} pixels, its label {label} {values.shape[1]} x "
            f"{values.shape[0]}",
        )
    return np.unique(values).astype(int), ""
