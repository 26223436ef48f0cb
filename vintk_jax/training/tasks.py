"""What a config is a training of: classes of images; with a section `segmentation` of pixels, with
a section `clips` of clips.

Everything else is the same loop.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float, UInt8

from vintk_jax.data import walk
from vintk_jax.data.augment import Augment, Centre
from vintk_jax.data.clip_views import ClipAugment, ClipViews
from vintk_jax.data.clips import KINDS as CLIPS
from vintk_jax.data.clips import open_clips
from vintk_jax.data.dense import DenseAugment, WholePair
from vintk_jax.data.loader import Transform
from vintk_jax.data.pairs import Labels, open_pairs
from vintk_jax.data.sources import KINDS as IMAGES
from vintk_jax.data.sources import Kinds, Source, open_source
from vintk_jax.errors import UserError
from vintk_jax.models.revit import Length
from vintk_jax.training.models import Trained, build
from vintk_jax.training.objectives import Classification, Objective, Segmentation, normalise
from vintk_jax.training.segmenters import build_segmenter
from vintk_jax.training.step import make_predict
from vintk_jax.training.teachers import with_token_labels
from vintk_jax.training.timesformers import build_timesformer, over_views

EVALUATIONS = ("whole", "sliding")


@dataclasses.dataclass(frozen=True)
class Task:
    """What the loop asks for.

    Attributes:
        train, test: the images.
        trained: the model.
        objective: its loss and measure.
        augment, look: what happens to a training image, and to one that is only looked at.
        predict: (model, length or None) -> a function (params, uint8 images) -> logits.
    """

    train: Source
    test: Source
    trained: Trained
    objective: Objective
    augment: Transform
    look: Transform
    predict: Callable[[nn.Module, Length | None], Callable]


def task_of(config: ml_collections.ConfigDict) -> Task:
    """Open the data and build the model.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    kinds = {"segmentation": _segmentation, "clips": _clips}
    return next((make for section, make in kinds.items() if section in config), _classification)(
        config
    )


def _opened(
    config: ml_collections.ConfigDict, open_split: Callable[[str, str], Source]
) -> tuple[Source, Source]:
    train, test = (
        open_split(config.data.source, split)
        for split in (config.data.train_split, config.data.test_split)
    )
    if train.classes != test.classes:
        splits = (config.data.train_split, config.data.test_split)
        raise UserError(
            f"{config.data.source} has {len(train.classes)} classes in {splits[0]}, "
            f"{len(test.classes)} in {splits[1]}; the same were wanted, but "
            f"{walk.differing(train.classes, test.classes, splits)}."
        )
    return train, test


def _augment(config: ml_collections.ConfigDict) -> Augment:
    """What happens to a training image on the host; mixing is the objective's."""
    host_side = {f.name for f in dataclasses.fields(Augment)} - {"size"}
    return Augment(
        config.data.image_size,
        **{name: value for name, value in config.augment.items() if name in host_side},
    )


def _classification(config: ml_collections.ConfigDict) -> Task:
    train, test = _opened(config, open_source)
    trained = build(config.model, len(train.classes), config.data.image_size)
    objective = Classification(
        num_classes=len(train.classes),
        label_smoothing=config.loss.label_smoothing,
        mixup=config.augment.mixup,
        cutmix=config.augment.cutmix,
        distill=config.loss.distill,
    )
    objective = with_token_labels(objective, config, trained, train.classes)
    return Task(train, test, trained, objective, _augment(config), look_of(config), make_predict)


def _segmentation(config: ml_collections.ConfigDict) -> Task:
    own = config.segmentation
    for name, value in config.augment.items():
        if value and name not in ("flip", "randaugment_magnitude"):
            raise UserError(
                f"augment.{name}={value} came; a segmenter's pictures know segmentation.scale and "
                "augment.flip only. Set it to 0."
            )
    if own.evaluation not in EVALUATIONS:
        raise UserError(
            f"segmentation.evaluation={own.evaluation!r} came; {' or '.join(EVALUATIONS)} was "
            "wanted."
        )
    size = config.data.image_size
    height, width = own.height or size, own.width or size
    if own.evaluation == "sliding" and min(height, width) < size:
        raise UserError(
            f"segmentation.evaluation=sliding wants pictures of {size} pixels at least, the "
            f"window's; {height} x {width} came."
        )
    labels = Labels(tuple(own.labels), tuple(own.ignore), tuple(own.names))
    train, test = _opened(config, lambda where, split: open_pairs(where, split, labels))
    trained = build_segmenter(config, len(train.classes))
    augment = DenseAugment(size, tuple(own.scale), config.augment.flip)
    objective = Segmentation(len(train.classes), config.loss.label_smoothing)
    return Task(
        train, test, trained, objective, augment, WholePair(height, width), predict_of(config)
    )


def predict_of(config: ml_collections.ConfigDict) -> Callable[[nn.Module, Length | None], Callable]:
    """What a segmenter's predictions are made by: a function of (model, None), see
    `Task.predict`.
    """
    if config.segmentation.evaluation == "whole":
        return make_predict
    return lambda model, grid: make_sliding(model, config.data.image_size)


def _clips(config: ml_collections.ConfigDict) -> Task:
    own, augment = config.clips, config.augment
    train, test = _opened(config, open_clips)
    for source, split in ((train, config.data.train_split), (test, config.data.test_split)):
        if short := sum(length < own.frames for length in source.frames):
            source.notes += (
                f"{short} clip(s) of {split} are shorter than clips.frames={own.frames}: some of "
                "their frames are shown twice.",
            )
    trained = build_timesformer(config, len(train.classes))
    objective = Classification(
        len(train.classes),
        config.loss.label_smoothing,
        augment.mixup,
        augment.cutmix,
        config.loss.distill,
    )
    augmented = ClipAugment(_augment(config), own.frames, own.stretch)

    def predict(model: nn.Module, grid: Length | None) -> Callable:
        def probabilities(params, clips):
            return jax.nn.softmax(make_predict(model, grid)(params, clips))

        return lambda params, clips: jnp.log(
            over_views(lambda one: probabilities(params, one), clips)
        )

    return Task(train, test, trained, objective, augmented, look_of(config), predict)


def look_of(config: ml_collections.ConfigDict) -> Transform:
    """What happens to an image, or clip, that is only looked at, by a training's config."""
    if "clips" in config:
        own = config.clips
        return ClipViews(
            config.data.image_size,
            own.frames,
            own.stretch,
            config.data.crop_ratio,
            own.views,
            own.crops,
        )
    return Centre(config.data.image_size, config.data.crop_ratio)


def kinds_of(config: ml_collections.ConfigDict) -> Kinds:
    """What opens the sources that a training's config may name."""
    return CLIPS if "clips" in config else IMAGES


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
        images, total, count = normalise(images), 0.0, np.zeros(images.shape[1:3], np.float32)
        for top in starts(images.shape[1]):
            for left in starts(images.shape[2]):
                window = (slice(top, top + size), slice(left, left + size))
                logits = model.apply(params, images[:, *window]).astype(jnp.float32)
                after = (images.shape[1] - top - size, images.shape[2] - left - size)
                total += jnp.pad(logits, ((0, 0), (top, after[0]), (left, after[1]), (0, 0)))
                count[window] += 1
        return total / count[:, :, None]

    return predict
