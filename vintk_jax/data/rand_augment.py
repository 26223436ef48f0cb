"""RandAugment as in timm's "rand-m9-mstd0.5-inc1", which DeiT trains with. An image gets two
operations, each with probability one half, magnitudes about 9 of 10.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from vintk_jax.data.archives import MEAN

GREY = tuple(round(channel * 255) for channel in MEAN)  # what comes in from beyond the borders
# RandAugment's operations. Each takes a level in [0, 1] and a sign, 1 or -1; ranges are timm's of
# its "increasing" set, where a higher level always changes more.
Operation = Callable[[Image.Image, float, float], Image.Image]


def _autocontrast(image: Image.Image, level: float, sign: float) -> Image.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, level: float, sign: float) -> Image.Image:
    return ImageOps.equalize(image)


def _invert(image: Image.Image, level: float, sign: float) -> Image.Image:
    return ImageOps.invert(image)


def _rotate(image: Image.Image, level: float, sign: float) -> Image.Image:
    return image.rotate(sign * 30 * level, Image.Resampling.BILINEAR, fillcolor=GREY)


def _posterize(image: Image.Image, level: float, sign: float) -> Image.Image:
    return ImageOps.posterize(image, max(1, 4 - int(level * 4)))


def _solarize(image: Image.Image, level: float, sign: float) -> Image.Image:
    return ImageOps.solarize(image, 256 - int(level * 256))


def _solarize_add(image: Image.Image, level: float, sign: float) -> Image.Image:
    pixels = np.asarray(image)
    lighter = np.minimum(pixels.astype(int) + int(level * 110), 255)
    return Image.fromarray(np.where(pixels < 128, lighter, pixels).astype(np.uint8))


def _enhance(kind: type) -> Operation:
    """Colour, contrast, brightness or sharpness."""

    def enhance(image: Image.Image, level: float, sign: float) -> Image.Image:
        return kind(image).enhance(1 + sign * 0.9 * level)

    return enhance


def _affine(image: Image.Image, matrix: tuple[int | float, ...]) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY
    )


def _shear_x(image: Image.Image, level: float, sign: float) -> Image.Image:
    return _affine(image, (1, 0.3 * (sign * level), 0, 0, 1, 0))


def _shear_y(image: Image.Image, level: float, sign: float) -> Image.Image:
    return _affine(image, (1, 0, 0, 0.3 * (sign * level), 1, 0))


def _shift_x(image: Image.Image, level: float, sign: float) -> Image.Image:
    return _affine(image, (1, 0, sign * 0.45 * level * image.width, 0, 1, 0))


def _shift_y(image: Image.Image, level: float, sign: float) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, sign * 0.45 * level * image.height))


OPERATIONS: tuple[Operation, ...] = (
    _autocontrast,
    _equalize,
    _invert,
    _rotate,
    _posterize,
    _solarize,
    _solarize_add,
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    _shear_x,
    _shear_y,
    _shift_x,
    _shift_y,
)


def rand_augment(
    image: Image.Image, rng: np.random.Generator, operations: int, magnitude: float
) -> Image.Image:
    """RandAugment (Cubuk et al. 2020, arXiv 1909.13719): `operations` draws, each done with
    probability 1/2, level N(magnitude, 0.5) of 10.
    """
    for number in rng.integers(len(OPERATIONS), size=operations):
        level = rng.normal(magnitude, 0.5)
        sign = rng.choice([-1.0, 1.0])
        if rng.random() < 0.5:
            image = OPERATIONS[number](image, float(np.clip(level / 10, 0, 1)), float(sign))
    return image
