"""Classes of pixels: the objective, the data, and how a test set is predicted."""

import dataclasses
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Array, Float, Int, UInt8

from vintk_jax.data.dense import DenseAugment, WholePair
from vintk_jax.data.label_maps import IGNORED
from vintk_jax.data.pairs import Labels, open_pairs
from vintk_jax.data.sources import KINDS as SOURCES
from vintk_jax.data.sources import Source
from vintk_jax.errors import UserError
from vintk_jax.models.folding import Length
from vintk_jax.tasks.base import Kind, Predict, Task, make_predict, open_splits
from vintk_jax.tasks.objectives import normalise
from vintk_jax.tasks.segmenters import build
from vintk_jax.tasks.sliding import make_sliding

EVALUATIONS = ("whole", "sliding")


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """One class for every pixel that has one.

    Attributes:
        num_classes: outputs.
        label_smoothing: share of a target spread over all classes.
    """

    num_classes: int
    label_smoothing: float = 0.0
    measure = "mean_iou"
    asked = MappingProxyType({})
    frozen = None

    def prepare(
        self, batch: dict[str, Array], key: jax.Array
    ) -> tuple[Float[Array, "n height width 3"], UInt8[Array, "n height width"]]:
        """Standardised images, and the label maps as they are."""
        return normalise(batch["image"]), batch["label"]

    def taught(self, images: Array, targets: Any, frozen: Any) -> Any:
        """The maps as they are: there is no teacher."""
        return targets

    def losses(
        self,
        logits: Sequence[Float[Array, "n height width classes"]],
        targets: UInt8[Array, "n height width"],
    ) -> Float[Array, " lengths"]:
        """Cross-entropy, averaged over the pixels that have a class."""
        has_class = targets != IGNORED
        wanted = jnp.where(has_class, targets, 0).astype(jnp.int32)
        found = []
        for one in logits:
            of_pixel = optax.softmax_cross_entropy_with_integer_labels(one, wanted)
            if self.label_smoothing:
                uniform = -jnp.mean(jax.nn.log_softmax(one), axis=-1)
                of_pixel = (1 - self.label_smoothing) * of_pixel + self.label_smoothing * uniform
            found.append(jnp.sum(of_pixel * has_class) / jnp.maximum(jnp.sum(has_class), 1))
        return jnp.stack(found)

    def right(
        self,
        logits: Float[Array, "n height width classes"],
        targets: UInt8[Array, "n height width"],
    ) -> Float[Array, ""]:
        """Share of pixels with a class whose largest logit is that class."""
        has_class = targets != IGNORED
        return jnp.sum((jnp.argmax(logits, -1) == targets) & has_class) / jnp.maximum(
            jnp.sum(has_class), 1
        )

    def size(self, targets: UInt8[Array, "n height width"]) -> Float[Array, ""]:
        """Pixels that have a class."""
        return jnp.sum(targets != IGNORED).astype(jnp.float32)

    def count(
        self, logits: Float[Array, "n height width classes"], batch: dict[str, Array]
    ) -> Int[Array, "classes classes"]:
        """Pixels by their class (rows) and the class that was said (columns)."""
        label = batch["label"].astype(jnp.int32)
        said = jnp.argmax(logits, axis=-1)
        counted = (label != IGNORED) & (batch["weight"] > 0)[:, None, None]
        cell = jnp.where(counted, label * self.num_classes + said, self.num_classes**2)
        return jnp.bincount(cell.reshape(-1), length=self.num_classes**2 + 1)[:-1].reshape(
            self.num_classes, self.num_classes
        )

    def measured(self, total: np.ndarray, classes: Sequence[str]) -> tuple[float, dict[str, float]]:
        """Mean intersection over union, over the classes that occur in the labels or the answers,
        and the one of each class.
        """
        both = np.diag(total)
        either = total.sum(axis=0) + total.sum(axis=1) - both
        by_class = {
            name: float(b / e) for name, b, e in zip(classes, both, either, strict=True) if e
        }
        return float(np.mean(list(by_class.values()))), by_class


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


KIND = Kind("segmentation", build, open_task, whole_image, SOURCES)
