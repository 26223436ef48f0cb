"""Spaces of video transformers: AutoFormer's decisions (width, depth, heads and MLP ratio of every
block), made for a TimeSformer.

Attention is divided into time and space, the TimeSformer's best form (Bertasius et al. 2021, arXiv
2102.05095); both of a block have its number of heads. The options are our choice: `deit-video`
reaches from DeiT-Ti to DeiT-S, `deit-video-mini` holds what 2 cores can train on the moving digits.
"""

import dataclasses
from typing import Any

from vintk_jax.errors import UserError
from vintk_jax.models.timesformer import TimeSformer
from vintk_jax.spaces.autoformer import AutoFormer, AutoFormerSpace
from vintk_jax.spaces.base import Cost
from vintk_jax.spaces.block_shapes import BlockShape


@dataclasses.dataclass(frozen=True)
class DeitVideoSpace(AutoFormerSpace):
    """Choices; all blocks share theirs.

    Attributes:
        head_dim, patch_size, frames: the same for all members.
        resolution: pixels a side that costs are stated for; num_classes: likewise.
    """

    embed_dim: tuple[int, ...] = (192, 256, 320, 384)
    depth: tuple[int, ...] = (8, 10, 12)
    num_heads: tuple[int, ...] = (3, 4, 5, 6)
    mlp_ratio: tuple[float, ...] = (2.0, 3.0, 4.0)
    head_dim: int = 64
    patch_size: int = 16
    frames: int = 8
    resolution: int = 224
    num_classes: int = 400

    @property
    def cost_size(self) -> tuple[int, int]:
        """`resolution`, both ways."""
        return (self.resolution, self.resolution)

    def cost(self, arch: AutoFormer, image_size: int = 0, num_classes: int = 0) -> Cost:
        """Parameters, and multiply-adds of matrix products and attention, of one clip.

        Args:
            image_size: pixels a side; 0: `resolution`.
            num_classes: 0: the space's.
        """
        e = arch.embed_dim
        k = num_classes or self.num_classes
        t = self.frames
        places = self._side(image_size) ** 2
        of_patch = self.patch_size**2 * 3
        tokens = t * places
        params = (of_patch + 1) * e + e + (1 + places) * e + t * e + 2 * e + (e + 1) * k
        flops = tokens * of_patch * e + e * k
        for heads, hidden in zip(arch.num_heads, arch.hidden, strict=True):
            width = heads * self.head_dim
            params += (
                6 * e
                + 2 * ((e + 1) * 3 * width + (width + 1) * e)
                + (e + 1) * e
                + (e + 1) * hidden
                + (hidden + 1) * e
            )
            over_time = tokens * (4 * e * width + e * e) + 2 * places * t**2 * width
            over_space = (tokens + 1) * 4 * e * width + 2 * t * (places + 1) ** 2 * width
            flops += over_time + over_space + (tokens + 1) * 2 * e * hidden
        return Cost(params, flops)

    def pools(self, arch: AutoFormer) -> bool:
        """A class token is read."""
        return False

    def blocks(self, arch: AutoFormer) -> tuple[BlockShape, ...]:
        """See `SearchSpace.blocks`; a block has an attention over time and one over space."""
        return tuple(
            block._replace(attentions=block.attentions * 2) for block in super().blocks(arch)
        )

    def model(
        self, arch: AutoFormer, image_size: int = 0, in_channels: int = 3, num_classes: int = 0
    ) -> TimeSformer:
        """The TimeSformer of this architecture; sizes as in `cost`."""
        return self._timesformer(
            arch.embed_dim, arch.num_heads, arch.hidden, image_size, num_classes
        )

    def supernet(self, image_size: int = 0, num_classes: int = 0, **options: Any) -> TimeSformer:
        """The widest, deepest member; scanned, since its blocks are equal, unless `scan=False`."""
        depth = max(self.depth)
        e = max(self.embed_dim)
        hidden = (int(e * max(self.mlp_ratio)),) * depth
        return self._timesformer(
            e,
            (max(self.num_heads),) * depth,
            hidden,
            image_size,
            num_classes,
            **{"scan": True, **options},
        )

    def _timesformer(
        self, embed_dim, num_heads, hidden, image_size, num_classes, **options
    ) -> TimeSformer:
        return TimeSformer(
            embed_dim=embed_dim,
            num_heads=num_heads,
            hidden=hidden,
            head_dim=self.head_dim,
            num_classes=num_classes or self.num_classes,
            patch_size=self.patch_size,
            native_grid=(self._side(image_size),) * 2,
            native_frames=self.frames,
            **options,
        )

    def _side(self, image_size: int) -> int:
        """Tokens a side."""
        size = image_size or self.resolution
        if size % self.patch_size or size < self.patch_size:
            raise UserError(
                f"Expected for {self.name} an image size that is a multiple of its patch size, "
                f"{self.patch_size}, got inputs.image_size={size}."
            )
        return size // self.patch_size


SMALL = DeitVideoSpace("deit-video")
MINI = DeitVideoSpace(
    "deit-video-mini",
    embed_dim=(48, 64, 80, 96),
    depth=(2, 3, 4),
    num_heads=(2, 3, 4),
    mlp_ratio=(1.0, 2.0, 3.0),
    head_dim=16,
    patch_size=8,
    resolution=32,
    num_classes=8,
)
