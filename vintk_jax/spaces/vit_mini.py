"""The space `vit-mini`: narrow plain vision transformers, which a CPU trains in minutes and which a
training makes resizable.

The published spaces begin at AutoFormer-Tiny's 192 columns and 12 blocks. Below that nobody has
published a space of plain ViTs, so the choices are ours: few blocks, since narrow and deep ones
learn slowly from few images; heads of 16 columns, so that narrow models have several; and the mean
over patches ahead of the classifier, as AutoFormer. `vintk_jax.adapt` searches it.
"""

import dataclasses
from typing import Any

from vintk_jax.models.vit import ViT
from vintk_jax.spaces.autoformer import AutoFormer, AutoFormerSpace
from vintk_jax.spaces.base import Cost

HEAD_DIM = 16
PATCH = 8
SIDE = 64  # pixels that costs are stated for: 8 x 8 patches
CLASSES = 100


@dataclasses.dataclass(frozen=True)
class VitMiniSpace(AutoFormerSpace):
    """Choices as of an AutoFormer space; heads are narrower, and there are no relative
    positions.
    """

    embed_dim: tuple[int, ...] = (48, 64, 80, 96, 128, 160, 192)
    depth: tuple[int, ...] = (2, 3, 4, 5, 6, 8)
    num_heads: tuple[int, ...] = (2, 3, 4, 6, 8)
    mlp_ratio: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0)

    @property
    def head_dim(self) -> int:
        """Width of a head of all members."""
        return HEAD_DIM

    @property
    def cost_size(self) -> tuple[int, int]:
        """A small image's."""
        return (SIDE, SIDE)

    @property
    def patch_size(self) -> int:
        """Pixels a side of a patch."""
        return PATCH

    @property
    def max_distance(self) -> int:
        """There are no relative positions."""
        return 0

    def cost(self, arch: AutoFormer, image_size: int = SIDE, num_classes: int = CLASSES) -> Cost:
        """Parameters, and multiply-adds of matrix products and attention."""
        return super().cost(arch, image_size, num_classes)

    def model(
        self,
        arch: AutoFormer,
        image_size: int = SIDE,
        in_channels: int = 3,
        num_classes: int = CLASSES,
    ) -> ViT:
        """A ViT with heads of 16 columns and the mean over patches ahead of the classifier."""
        return super().model(arch, image_size, in_channels, num_classes)

    def supernet(self, image_size: int = SIDE, num_classes: int = CLASSES, **options: Any) -> ViT:
        """The widest, deepest member; scanned unless `scan=False`."""
        return super().supernet(image_size, num_classes, **options)


VIT_MINI = VitMiniSpace("vit-mini")
