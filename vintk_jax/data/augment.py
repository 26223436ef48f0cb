"""From an image of any size to one of the model's: cropping, flipping, RandAugment and random
erasing, on the host, image by image.

Pillow does the work on pixels; what is drawn follows DeiT's recipe (Touvron et al. 2021, arXiv
2012.12877, table 9), whose RandAugment is timm's "rand-m9-mstd0.5-inc1": two operations an image,
each with probability one half, magnitudes about 9 of 10. Mixing images with each other is done on
the device (`tasks.mixing`). Libraries looked at: albumentations is no longer kept, Keras draws
RandAugment once for a whole batch, torchvision brings PyTorch.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageEnhance, ImageOps

from vintk_jax.data.images import MEAN, STD
from vintk_jax.errors import UserError

Pixels = UInt8[np.ndarray, "height width 3"]
GREY = tuple(round(channel * 255) for channel in MEAN)


def _affine(matrix: Callable[[float], tuple]) -> Callable[[Image.Image, float, float], Image.Image]:
    return lambda image, level, sign: image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix(sign * level),
        Image.Resampling.BILINEAR,
        fillcolor=GREY,
    )


def _enhance(kind: type) -> Callable[[Image.Image, float, float], Image.Image]:
    return lambda image, level, sign: kind(image).enhance(1 + sign * 0.9 * level)


def _shift(axis: int) -> Callable[[Image.Image, float, float], Image.Image]:
    def shift(image, level, sign):
        by = sign * 0.45 * level * image.size[axis]
        matrix = (1, 0, by, 0, 1, 0) if axis == 0 else (1, 0, 0, 0, 1, by)
        return image.transform(
            image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY
        )

    return shift


# Each takes a level in [0, 1] and a sign; ranges are timm's of its "increasing" set, where a higher
# level always changes more.
_OPERATIONS: tuple[Callable[[Image.Image, float, float], Image.Image], ...] = (
    lambda image, level, sign: ImageOps.autocontrast(image),
    lambda image, level, sign: ImageOps.equalize(image),
    lambda image, level, sign: ImageOps.invert(image),
    lambda image, level, sign: image.rotate(
        sign * 30 * level, Image.Resampling.BILINEAR, fillcolor=GREY
    ),
    lambda image, level, sign: ImageOps.posterize(image, max(1, 4 - int(level * 4))),
    lambda image, level, sign: ImageOps.solarize(image, 256 - int(level * 256)),
    lambda image, level, sign: Image.fromarray(_solarize_add(np.asarray(image), int(level * 110))),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    _affine(lambda by: (1, 0.3 * by, 0, 0, 1, 0)),
    _affine(lambda by: (1, 0, 0, 0.3 * by, 1, 0)),
    _shift(0),
    _shift(1),
)


def _solarize_add(pixels: Pixels, by: int) -> Pixels:
    return np.where(pixels < 128, np.minimum(pixels.astype(int) + by, 255), pixels).astype(np.uint8)


def rand_augment(
    image: Image.Image, rng: np.random.Generator, operations: int, magnitude: float
) -> Image.Image:
    """RandAugment (Cubuk et al. 2020, arXiv 1909.13719): `operations` draws, each done with
    probability 1/2, level N(magnitude, 0.5) of 10.
    """
    for which in rng.integers(len(_OPERATIONS), size=operations):
        level, sign, doing = rng.normal(magnitude, 0.5), rng.choice([-1.0, 1.0]), rng.random()
        if doing < 0.5:
            image = _OPERATIONS[which](image, float(np.clip(level / 10, 0, 1)), float(sign))
    return image


def resized_crop(
    image: Image.Image, rng: np.random.Generator, size: int, least: float
) -> Image.Image:
    """A crop of a share in [least, 1] of the area and a ratio in [3/4, 4/3] of the sides, resized;
    the centre if ten draws don't fit.
    """
    area = image.width * image.height
    for _ in range(10):
        wanted = area * rng.uniform(least, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        width, height = round(math.sqrt(wanted * ratio)), round(math.sqrt(wanted / ratio))
        if 0 < width <= image.width and 0 < height <= image.height:
            left, top = (
                int(rng.integers(image.width - width + 1)),
                int(rng.integers(image.height - height + 1)),
            )
            return image.resize(
                (size, size), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height)
            )
    return centre_crop(image, size, 1.0)


def centre_crop(image: Image.Image, size: int, ratio: float, along: float = 0.5) -> Image.Image:
    """The centre square of `ratio` times the shorter side, resized; `along`: its place on the
    longer side, from 0 to 1.
    """
    if image.size == (size, size) and ratio == 1:
        return image
    side = min(image.size) * ratio
    places = (along, 0.5) if image.width >= image.height else (0.5, along)
    left, top = ((extent - side) * place for extent, place in zip(image.size, places))
    return image.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )


def padded_crop(image: Image.Image, rng: np.random.Generator, padding: int) -> Image.Image:
    """The image moved by up to `padding` pixels either way, grey behind it."""
    left, top = (int(offset) for offset in rng.integers(-padding, padding + 1, size=2))
    moved = Image.new("RGB", image.size, GREY)
    moved.paste(image, (left, top))
    return moved


def erase(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A rectangle of 2% to a third of the area becomes noise (Zhong et al. 2020, arXiv 1708.04896;
    noise a pixel, as DeiT).
    """
    height, width = pixels.shape[:2]
    for _ in range(10):
        area = height * width * rng.uniform(0.02, 1 / 3)
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            noise = (MEAN + STD * rng.standard_normal((h, w, 3))) * 255
            erased = pixels.copy()
            erased[top : top + h, left : left + w] = np.clip(noise, 0, 255)
            return erased
    return pixels


@dataclasses.dataclass(frozen=True)
class Augment:
    """What happens to a training image; the fields are those of the configs' `augment` section, as
    far as the host does them.

    Attributes:
        size: pixels a side of the result.
        resized_crop: least share of the area that a random crop shows; 0: the centre square
            instead.
        padding: pixels that the image is moved by at most.
        flip: whether half of the images are mirrored.
        randaugment_ops, randaugment_magnitude: operations an image (0: none), and their strength
            from 0 to 10.
        erasing: probability of random erasing.
    """

    size: int
    resized_crop: float = 0.0
    padding: int = 0
    flip: bool = False
    randaugment_ops: int = 0
    randaugment_magnitude: float = 9.0
    erasing: float = 0.0

    def __post_init__(self):
        for name, low, high in (
            ("resized_crop", 0, 1),
            ("erasing", 0, 1),
            ("randaugment_magnitude", 0, 10),
            ("padding", 0, self.size),
        ):
            if not low <= getattr(self, name) <= high:
                raise UserError(
                    f"augment.{name}={getattr(self, name)} came; a number from {low} to {high} was "
                    "wanted."
                )

    def __call__(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """An element of a source, augmented."""
        pixels = element["image"]
        if (
            self.resized_crop
            or self.padding
            or self.randaugment_ops
            or pixels.shape[:2] != (self.size, self.size)
        ):
            image = Image.fromarray(pixels)
            image = (
                resized_crop(image, rng, self.size, self.resized_crop)
                if self.resized_crop
                else centre_crop(image, self.size, 1.0)
            )
            if self.padding:
                image = padded_crop(image, rng, self.padding)
            if self.randaugment_ops:
                image = rand_augment(image, rng, self.randaugment_ops, self.randaugment_magnitude)
            pixels = np.asarray(image)
        if self.flip and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        if self.erasing and rng.random() < self.erasing:
            pixels = erase(pixels, rng)
        return {
            **element,
            "image": np.ascontiguousarray(pixels),
            "label": np.int32(element["label"]),
        }


@dataclasses.dataclass(frozen=True)
class Centre:
    """What happens to an image that is only looked at: the centre of it, resized (`ratio` of the
    shorter side).
    """

    size: int
    ratio: float = 1.0

    def __call__(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """An element of a source in the model's size; nothing is drawn."""
        image = np.asarray(centre_crop(Image.fromarray(element["image"]), self.size, self.ratio))
        return {**element, "image": image, "label": np.int32(element["label"])}
