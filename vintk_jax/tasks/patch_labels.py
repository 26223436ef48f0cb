"""Token labelling (LV-ViT, Jiang et al. 2021, arXiv 2104.10858): every patch learns a class
distribution of its own, which a trained teacher gives.

The paper keeps a map of labels for each image and cuts it as the image is cut. Here the teacher
looks at what the student looks at, in every step: whatever augmentation did is right by itself, and
nothing has to be stored. That costs the teacher's forward pass.
"""

import dataclasses
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from vintk_jax.tasks.objectives import Classification, length_losses

Grid = tuple[int, int]
Targets = tuple[Float[Array, "n classes"], Float[Array, "n rows columns classes"]]
Answer = tuple[Float[Array, "n classes"], Float[Array, "n _patches classes"]]


@dataclasses.dataclass(frozen=True)
class Teacher:
    """A trained ViT that says of each patch what it shows.

    Attributes:
        model: the module; it is asked with `dense`.
        grid: token rows and columns that it is asked at.
        image_size: pixels a side that it was trained on; images of another size are resized.
    """

    model: nn.Module
    grid: Grid
    image_size: int

    def __call__(
        self, variables: Any, images: Float[Array, "n height width 3"]
    ) -> Float[Array, "n rows columns classes"]:
        """The distribution of each patch."""
        side = self.image_size
        if images.shape[1:3] != (side, side):
            images = jax.image.resize(images, (len(images), side, side, 3), "linear")
        _, of_patches = self.model.apply(variables, images, self.grid, dense=True)
        return jax.nn.softmax(of_patches.astype(jnp.float32)).reshape(len(images), *self.grid, -1)


@dataclasses.dataclass(frozen=True)
class TokenLabelling(Classification):
    """One class for an image, and one distribution for each of its patches.

    Attributes:
        grids: token rows and columns of each length, longest first.
        weight: of the patches' cross-entropy beside the image's (the paper: 0.5).
        teacher: says what patches show; None: what the image shows (as the published code does
            where there are no maps).
        frozen: the teacher's variables.
    """

    grids: Sequence[Grid] = ()
    weight: float = 0.5
    teacher: Teacher | None = None
    frozen: Any = None
    asked = MappingProxyType({"dense": True})

    def taught(
        self,
        images: Float[Array, "n height width 3"],
        targets: Float[Array, "n classes"],
        frozen: Any,
    ) -> Targets:
        """The images' targets, and those of their patches, which the teacher gives."""
        if self.teacher is None:
            return targets, targets[:, None, None]
        return targets, self.teacher(frozen, images)

    def losses(self, answers: Sequence[Answer], targets: Targets) -> Float[Array, " lengths"]:
        """`length_losses` of the class token's answers, and the weighted cross-entropy of the
        patches', at every length (equation 4).
        """
        labels, maps = targets
        of_images = length_losses([logits for logits, _ in answers], labels, self.distill)
        of_patches = [
            jnp.mean(optax.softmax_cross_entropy(patches, resized(maps, grid)))
            for (_, patches), grid in zip(answers, self.grids, strict=True)
        ]
        return of_images + self.weight * jnp.stack(of_patches)

    def right(self, answer: Answer, targets: Targets) -> Float[Array, ""]:
        """Share of images that the head alone is right about."""
        return super().right(answer[0], targets[0])


def resized(
    maps: Float[Array, "n rows columns classes"], grid: Grid
) -> Float[Array, "n patches classes"]:
    """Distributions on another grid, averaged where it is coarser: they still sum to one."""
    n, _, _, classes = maps.shape
    return jax.image.resize(maps, (n, *grid, classes), "linear").reshape(n, -1, classes)
