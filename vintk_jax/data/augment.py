"""From an image of any size to one of the model's: cropping, flipping, RandAugment and random
erasing. It is done on the host, image by image.

Pillow does the work on pixels. What is drawn follows DeiT's recipe (Touvron et al. 2021, arXiv
2012.12877, table 9). Mixing images with each other is done on the device (`tasks.mixing`). We
looked at other libraries: albumentations is no longer kept, Keras draws RandAugment once for a
whole batch, torchvision brings PyTorch.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vintk_jax.data.archives import MEAN, STD
from vintk_jax.data.rand_augment import GREY, rand_augment
from vintk_jax.errors import UserError

Pixels = UInt8[np.ndarray, "height width 3"]


def resized_crop(
    image: Image.Image, rng: np.random.Generator, size: int, least: float
) -> Image.Image:
    """A random crop, resized. Its area is a share in [least, 1] of the image's, the ratio of its
    sides is in [3/4, 4/3]. It is the centre if ten draws don't fit.
    """
    area = image.width * image.height
    for _ in range(10):
        wanted = area * rng.uniform(least, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        width = round(math.sqrt(wanted * ratio))
        height = round(math.sqrt(wanted / ratio))
        if 0 < width <= image.width and 0 < height <= image.height:
            left = int(rng.integers(image.width - width + 1))
            top = int(rng.integers(image.height - height + 1))
            return image.resize(
                (size, size), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height)
            )
    return centre_crop(image, size, 1.0)


def centre_crop(image: Image.Image, size: int, ratio: float, along: float = 0.5) -> Image.Image:
    """The centre square of `ratio` times the shorter side, resized. `along` is its place on the
    longer side, from 0 to 1.
    """
    if image.size == (size, size) and ratio == 1:
        return image
    side = min(image.size) * ratio
    wide = image.width >= image.height
    left = (image.width - side) * (along if wide else 0.5)
    top = (image.height - side) * (0.5 if wide else along)
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
    """A rectangle of 2% to a third of the area becomes noise (Zhong et al. 2020, arXiv 1708.04896).
    Each pixel has noise of its own, as in DeiT.
    """
    height, width = pixels.shape[:2]
    for _ in range(10):
        area = height * width * rng.uniform(0.02, 1 / 3)
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        h = round(math.sqrt(area * ratio))
        w = round(math.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            top = int(rng.integers(height - h + 1))
            left = int(rng.integers(width - w + 1))
            noise = (MEAN + STD * rng.standard_normal((h, w, 3))) * 255
            erased = pixels.copy()
            erased[top : top + h, left : left + w] = np.clip(noise, 0, 255)
            return erased
    return pixels


@dataclasses.dataclass(frozen=True)
class Augment:
    """What happens to a training image. The fields are those of the configs' `augment` section that
    the host carries out.

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
                    f"Expected augment.{name} from {low} to {high}, got {getattr(self, name)}."
                )

    def __call__(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """An element of a source, augmented."""
        pixels = element["image"]
        draws_image = self.resized_crop or self.padding or self.randaugment_ops
        if draws_image or pixels.shape[:2] != (self.size, self.size):
            pixels = np.asarray(self._augmented(Image.fromarray(pixels), rng))
        if self.flip and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        if self.erasing and rng.random() < self.erasing:
            pixels = erase(pixels, rng)
        image = np.ascontiguousarray(pixels)
        return {**element, "image": image, "label": np.int32(element["label"])}

    def _augmented(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """What Pillow does: the crop, the padding, RandAugment."""
        if self.resized_crop:
            image = resized_crop(image, rng, self.size, self.resized_crop)
        else:
            image = centre_crop(image, self.size, 1.0)
        if self.padding:
            image = padded_crop(image, rng, self.padding)
        if self.randaugment_ops:
            image = rand_augment(image, rng, self.randaugment_ops, self.randaugment_magnitude)
        return image


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
