"""What a training learns: the loss, what counts as right, and how a whole test set is measured. The
objective for classes of images and of clips; that for pixels stands in `segmentation`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from jaxtyping import Array, Float, UInt8

from vintk_jax.data.archives import MEAN, STD
from vintk_jax.tasks import mixing


def normalise(images: UInt8[Array, "n *image 3"]) -> Float[Array, "n *image 3"]:
    """Pixels, of images or of clips, standardised by ImageNet's channel means and deviations."""
    return (images.astype(jnp.float32) / 255 - jnp.asarray(MEAN, jnp.float32)) / jnp.asarray(
        STD, jnp.float32
    )


@runtime_checkable
class Objective(Protocol):
    """What a step needs of a task.

    Attributes:
        measure: the name of what a test set is measured by, as metrics.jsonl has it.
        asked: what a model is called with, beside images and length, to be trained; {} for its
            logits.
        frozen: variables that `taught` reads and nothing changes (a teacher's); None without.
    """

    measure: str
    asked: Mapping[str, Any]
    frozen: Any

    def prepare(self, batch: dict[str, Array], key: jax.Array) -> tuple[Array, Any]:
        """The model's images and the targets of a batch; key: for what is drawn."""

    def taught(self, images: Array, targets: Any, frozen: Any) -> Any:
        """The targets of some of the images with what a teacher adds to them."""

    def losses(self, answers: Sequence[Any], targets: Any) -> Float[Array, " lengths"]:
        """The loss of each length, longest first, of what the model says when asked so."""

    def right(self, answer: Any, targets: Any) -> Float[Array, ""]:
        """The share of the targets that is met."""

    def size(self, targets: Any) -> Float[Array, ""]:
        """How many targets the losses are means over: what a piece of a batch counts for."""

    def count(self, logits: Array, batch: dict[str, Array]) -> Array:
        """What is added up over a test set; images count with the batch's "weight"."""

    def measured(self, total: np.ndarray, classes: Sequence[str]) -> tuple[float, dict[str, float]]:
        """The measure of a whole test set, and details by class, of what `count` added up to."""


def length_losses(
    logits: Sequence[Float[Array, "n classes"]],
    targets: Float[Array, "n classes"],
    distill: int | float,
) -> Float[Array, " lengths"]:
    """The loss of each length, longest first: cross-entropy, and for the others a share of the
    divergence from the longest's answer.

    The longest doesn't learn from the others: its answer is taken as given. The form is our choice.
    """
    teacher = jax.lax.stop_gradient(jax.nn.softmax(logits[0]))
    losses = [jnp.mean(optax.softmax_cross_entropy(logits[0], targets))]
    for student in logits[1:]:
        labelled = optax.softmax_cross_entropy(student, targets)
        taught = (
            optax.losses.kl_divergence(jax.nn.log_softmax(student), teacher) if distill else 0.0
        )
        losses.append(jnp.mean((1 - distill) * labelled + distill * taught))
    return jnp.stack(losses)


@dataclasses.dataclass(frozen=True)
class Classification:
    """One class for an image; the fields of the same names in the configs.

    Attributes:
        num_classes: outputs.
        label_smoothing: share of a target spread over all classes.
        mixup, cutmix: alphas of their Beta distributions; 0: without.
        distill: weight of the longest length's answer in the shorter ones' loss; the rest is the
            label's.
    """

    num_classes: int
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    distill: float = 0.0
    measure = "accuracy"
    asked = MappingProxyType({})
    frozen = None

    @classmethod
    def of(cls, config: ml_collections.ConfigDict, num_classes: int) -> "Classification":
        """The objective of a training's sections `loss` and `augment`."""
        return cls(
            num_classes=num_classes,
            label_smoothing=config.loss.label_smoothing,
            mixup=config.augment.mixup,
            cutmix=config.augment.cutmix,
            distill=config.loss.distill,
        )

    def prepare(
        self, batch: dict[str, Array], key: jax.Array
    ) -> tuple[Float[Array, "n *image 3"], Float[Array, "n classes"]]:
        """Standardised images and smoothed targets, mixed with each other."""
        targets = optax.smooth_labels(
            jax.nn.one_hot(batch["label"], self.num_classes), self.label_smoothing
        )
        return mixing.mix(normalise(batch["image"]), targets, key, self.mixup, self.cutmix)

    def taught(self, images: Array, targets: Any, frozen: Any) -> Any:
        """The targets as they are: there is no teacher."""
        return targets

    def losses(
        self, logits: Sequence[Float[Array, "n classes"]], targets: Float[Array, "n classes"]
    ) -> Float[Array, " lengths"]:
        """See `length_losses`."""
        return length_losses(logits, targets, self.distill)

    def right(
        self, logits: Float[Array, "n classes"], targets: Float[Array, "n classes"]
    ) -> Float[Array, ""]:
        """Share of images whose largest logit is the target's largest class."""
        return jnp.mean(jnp.argmax(logits, -1) == jnp.argmax(targets, -1))

    def size(self, targets: Any) -> Float[Array, ""]:
        """Images."""
        return jnp.float32(jax.tree.leaves(targets)[0].shape[0])

    def count(
        self, logits: Float[Array, "n classes"], batch: dict[str, Array]
    ) -> Float[Array, " right_and_all"]:
        """Images that are right, and images."""
        return jnp.stack(
            [
                jnp.sum(batch["weight"] * (jnp.argmax(logits, axis=-1) == batch["label"])),
                jnp.sum(batch["weight"]),
            ]
        )

    def measured(self, total: np.ndarray, classes: Sequence[str]) -> tuple[float, dict[str, float]]:
        """Accuracy."""
        return float(total[0] / total[1]), {}
