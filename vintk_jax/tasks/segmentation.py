"""Classes of pixels, by a segmenter of given sizes or an architecture that a search found."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float, UInt8

from vintk_jax.data.dense import DenseAugment, WholePair
from vintk_jax.data.pairs import Labels, open_pairs
from vintk_jax.data.sources import KINDS as SOURCES
from vintk_jax.data.sources import Source
from vintk_jax.errors import UserError
from vintk_jax.models.revit import Length
from vintk_jax.models.segmenter import DECODERS, Segmenter
from vintk_jax.tasks.architecture import read_best
from vintk_jax.tasks.base import Kind, Predict, Task, make_predict, open_splits
from vintk_jax.tasks.model_spec import INITS, ModelSpec, dtype_of
from vintk_jax.tasks.objectives import Segmentation, normalise

EVALUATIONS = ("whole", "sliding")
# A model given by its sizes has so many stages: what the convolutional decoder reads.
_STAGES = 3


def build(config: ml_collections.ConfigDict, num_classes: int) -> ModelSpec:
    """The model of a training's sections `model` and `segmentation`.

    Raises:
        UserError: for sizes that don't fit each other, or an architecture that is no segmenter.
    """
    model = config.model
    image_size = config.data.image_size
    if len(model.lengths) != 1 or image_size % model.lengths[0]:
        raise UserError(
            "A segmenter has one length. Expected model.lengths to be one number that divides "
            f"data.image_size={image_size}, got {tuple(model.lengths)}."
        )
    if model.init not in INITS:
        raise UserError(f"Expected model.init to be {' or '.join(INITS)}, got {model.init!r}.")
    if model.arch:
        segmenter = _searched(model, num_classes, image_size)
    else:
        segmenter = _by_sizes(model, config.segmentation, num_classes, image_size)
    return ModelSpec(segmenter, (None,), image_size, model.init)


def _searched(model: ml_collections.ConfigDict, num_classes: int, image_size: int) -> Segmenter:
    """The model of a search's best.json."""
    space, arch = read_best(model.arch)
    segmenter = space.model(arch, image_size, num_classes=num_classes)
    if not isinstance(segmenter, Segmenter):
        raise UserError(
            f"model.arch={model.arch} is of {space.name}, no segmenter. `search --config "
            "configs/seg_space.py` finds one."
        )
    return segmenter.clone(dtype=dtype_of(model.dtype), scan=False, remat=model.remat)


def _by_sizes(
    model: ml_collections.ConfigDict,
    section: ml_collections.ConfigDict,
    num_classes: int,
    image_size: int,
) -> Segmenter:
    if (
        model.embed_dim % model.num_heads
        or section.decoder not in DECODERS
        or model.depth < _STAGES
    ):
        raise UserError(
            f"Expected heads that divide the width, {_STAGES} blocks at least, and one of the "
            f"decoders {', '.join(DECODERS)}, got model.embed_dim={model.embed_dim}, "
            f"num_heads={model.num_heads}, depth={model.depth}, "
            f"segmentation.decoder={section.decoder!r}."
        )
    hidden = int(model.embed_dim * model.mlp_ratio)
    return Segmenter(
        embed_dim=model.embed_dim,
        depths=tuple((model.depth + i) // _STAGES for i in range(_STAGES)),
        num_heads=(model.num_heads,) * _STAGES,
        hidden=(hidden,) * _STAGES,
        head_dim=model.embed_dim // model.num_heads,
        num_classes=num_classes,
        patch_size=image_size // model.lengths[0],
        native_grid=(model.lengths[0],) * 2,
        decoders=(section.decoder,),
        conv_width=section.conv_width,
        mask_depth=section.mask_depth,
        mask_heads=model.num_heads,
        mask_hidden=hidden,
        dtype=dtype_of(model.dtype),
        remat=model.remat,
    )


def open_task(config: ml_collections.ConfigDict) -> Task:
    """Open the data and build the model.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    section = config.segmentation
    for name, value in config.augment.items():
        if value and name not in ("flip", "randaugment_magnitude"):
            raise UserError(
                f"A segmenter's images know segmentation.scale and augment.flip only. Expected "
                f"augment.{name} to be 0, got {value}. Set it to 0."
            )
    if section.evaluation not in EVALUATIONS:
        raise UserError(
            f"Expected segmentation.evaluation to be {' or '.join(EVALUATIONS)}, got "
            f"{section.evaluation!r}."
        )
    window = config.data.image_size
    height, width = size_of(config)
    if section.evaluation == "sliding" and min(height, width) < window:
        raise UserError(
            f"segmentation.evaluation=sliding looks through a window of {window} pixels. Expected "
            f"images that large at least, got {height} x {width}."
        )
    labels = Labels(tuple(section.labels), tuple(section.ignore), tuple(section.names))

    def open_split(where: str, split: str) -> Source:
        return open_pairs(where, split, labels)

    train, test = open_splits(config, open_split)
    return Task(
        train=train,
        test=test,
        spec=build(config, len(train.classes)),
        objective=Segmentation(len(train.classes), config.loss.label_smoothing),
        augment=DenseAugment(window, tuple(section.scale), config.augment.flip),
        eval_transform=whole_image(config),
        predict=predict_of(config),
    )


def size_of(config: ml_collections.ConfigDict) -> tuple[int, int]:
    """Height and width in pixels of what the model is evaluated on."""
    section = config.segmentation
    side = config.data.image_size
    return section.height or side, section.width or side


def whole_image(config: ml_collections.ConfigDict) -> WholePair:
    """The whole image with its map, resized to fit."""
    return WholePair(*size_of(config))


def predict_of(config: ml_collections.ConfigDict) -> Callable[[nn.Module, Length | None], Predict]:
    """What a segmenter's predictions are made by; see `Task.predict`."""
    if config.segmentation.evaluation == "whole":
        return make_predict

    def sliding(model: nn.Module, grid: Length | None) -> Predict:
        return make_sliding(model, config.data.image_size)

    return sliding


def make_sliding(
    model: nn.Module, size: int
) -> Callable[[Any, Array], Float[Array, "n height width classes"]]:
    """A function (params, uint8 images) -> logits, averaged over the square windows that show a
    pixel (as Segmenter, section 4.2).

    Windows begin every two thirds of their side, our choice; the last of a row and of a column end
    at the border.
    """

    def starts(extent: int) -> list[int]:
        count = 1 + -(-3 * (extent - size) // (2 * size))
        return sorted({round(start) for start in np.linspace(0, extent - size, count)})

    def predict(
        params: Any, images: UInt8[Array, "n height width 3"]
    ) -> Float[Array, "n height width classes"]:
        images = normalise(images)
        height, width = images.shape[1:3]
        total = 0.0
        count = np.zeros((height, width), np.float32)
        for top in starts(height):
            for left in starts(width):
                window = (slice(top, top + size), slice(left, left + size))
                logits = model.apply(params, images[:, *window]).astype(jnp.float32)
                below = height - top - size
                right = width - left - size
                total += jnp.pad(logits, ((0, 0), (top, below), (left, right), (0, 0)))
                count[window] += 1
        return total / count[:, :, None]

    return predict


KIND = Kind("segmentation", build, open_task, whole_image, SOURCES)
