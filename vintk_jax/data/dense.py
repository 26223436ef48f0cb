"""Images and the maps of their labels, brought to the model's size together: what happens to one
happens to the other.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from PIL import Image

from vintk_jax.data.augment import GREY
from vintk_jax.data.label_maps import IGNORED
from vintk_jax.errors import UserError


def _resized(
    image: Image.Image, label: Image.Image, factor: float
) -> tuple[Image.Image, Image.Image]:
    """Both, with sides `factor` times as long."""
    size = tuple(max(round(side * factor), 1) for side in image.size)
    if image.size == size:
        return image, label
    return (
        image.resize(size, Image.Resampling.BILINEAR),
        label.resize(size, Image.Resampling.NEAREST),
    )


def _on_canvas(
    image: Image.Image, label: Image.Image, left: int, top: int, width: int, height: int
) -> tuple[np.ndarray, np.ndarray]:
    """The part that begins at (left, top). Beyond the borders it is grey and without a class."""
    pixels = Image.new("RGB", (width, height), GREY)
    classes = Image.new("L", (width, height), IGNORED)
    pixels.paste(image, (-left, -top))
    classes.paste(label, (-left, -top))
    return np.asarray(pixels), np.asarray(classes)


@dataclasses.dataclass(frozen=True)
class DenseAugment:
    """A training pair: resized by a random factor, a random square of it, half of them mirrored.

    Attributes:
        size: pixels a side of the square.
        scale: the least and the largest factor, drawn evenly on a logarithmic axis.
        flip: whether half are mirrored.
    """

    size: int
    scale: tuple[float, float] = (1.0, 1.0)
    flip: bool = False

    def __post_init__(self):
        if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
            raise UserError(
                "Expected segmentation.scale to be the least and the largest factor, both "
                f"positive, got {self.scale}."
            )

    def __call__(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """A pair of a source, augmented."""
        image = Image.fromarray(element["image"])
        label = Image.fromarray(element["label"])
        factor = math.exp(rng.uniform(*np.log(self.scale)))
        image, label = _resized(image, label, factor)
        # A picture smaller than the square lies somewhere in it, a larger one is cut.
        left, top = (
            int(rng.integers(min(side - self.size, 0), max(side - self.size, 0) + 1))
            for side in image.size
        )
        pixels, classes = _on_canvas(image, label, left, top, self.size, self.size)
        if self.flip and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
            classes = classes[:, ::-1]
        return {"image": np.ascontiguousarray(pixels), "label": np.ascontiguousarray(classes)}


@dataclasses.dataclass(frozen=True)
class WholePair:
    """A pair as it is evaluated, in the upper left of a canvas of fixed size. A larger one is
    resized to fit.

    Attributes:
        height, width: of the canvas, in pixels.
    """

    height: int
    width: int

    def __call__(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """A pair of a source in one size; nothing is drawn."""
        image = Image.fromarray(element["image"])
        label = Image.fromarray(element["label"])
        factor = min(self.width / image.width, self.height / image.height, 1.0)
        image, label = _resized(image, label, factor)
        pixels, classes = _on_canvas(image, label, 0, 0, self.width, self.height)
        return {"image": pixels, "label": classes}
