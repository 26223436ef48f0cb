"""The AutoFormer spaces (Chen et al. 2021, arXiv 2107.00651): width, depth, and heads and MLP ratio
of every block.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.models.vit import ViT
from vintk_jax.spaces.base import Cost, SearchSpace
from vintk_jax.spaces.block_costs import block_cost
from vintk_jax.spaces.block_shapes import BlockShape, Heads
from vintk_jax.spaces.by_choices import leading_ones
from vintk_jax.spaces.cutting import block_at, cut_block, leading, leading_inputs
from vintk_jax.spaces.parts import by_embed_dim

HEAD_DIM = 64
PATCH = 16
MAX_DISTANCE = 14  # relative positions are clipped here: the whole of a 14 x 14 grid


@dataclasses.dataclass(frozen=True)
class AutoFormer:
    """One architecture; the tuples run from the first block to the last."""

    embed_dim: int
    depth: int
    num_heads: tuple[int, ...]
    mlp_ratio: tuple[float, ...]

    @property
    def hidden(self) -> tuple[int, ...]:
        """MLP widths."""
        return tuple(int(self.embed_dim * ratio) for ratio in self.mlp_ratio)


@dataclasses.dataclass(frozen=True)
class AutoFormerSpace(SearchSpace):
    """Choices of one AutoFormer space; all blocks share theirs."""

    embed_dim: tuple[int, ...] = (192, 216, 240)
    depth: tuple[int, ...] = (12, 13, 14)
    num_heads: tuple[int, ...] = (3, 4)
    mlp_ratio: tuple[float, ...] = (3.5, 4.0)

    @property
    def head_dim(self) -> int:
        """Width of a head of all members."""
        return HEAD_DIM

    @property
    def patch_size(self) -> int:
        """Pixels a side of a patch."""
        return PATCH

    @property
    def max_distance(self) -> int:
        """Clip of the relative positions; 0: there are none."""
        return MAX_DISTANCE

    def choices(self) -> dict[str, tuple]:
        """embed_dim, depth, and num_heads_i and mlp_ratio_i of each block up to the greatest
        depth.
        """
        blocks = range(max(self.depth))
        return {
            "embed_dim": self.embed_dim,
            "depth": self.depth,
            **{f"num_heads_{i}": self.num_heads for i in blocks},
            **{f"mlp_ratio_{i}": self.mlp_ratio for i in blocks},
        }

    def decode(self, chosen: Mapping[str, Any]) -> AutoFormer:
        """Heads and ratios of blocks beyond the depth are dropped."""
        blocks = range(chosen["depth"])
        return AutoFormer(
            chosen["embed_dim"],
            chosen["depth"],
            tuple(chosen[f"num_heads_{i}"] for i in blocks),
            tuple(float(chosen[f"mlp_ratio_{i}"]) for i in blocks),
        )

    def to_json(self, arch: AutoFormer) -> dict[str, Any]:
        """To {"embed_dim", "depth", "num_heads": [...], "mlp_ratio": [...]}."""
        return {
            "embed_dim": arch.embed_dim,
            "depth": arch.depth,
            "num_heads": list(arch.num_heads),
            "mlp_ratio": [int(ratio) if ratio == int(ratio) else ratio for ratio in arch.mlp_ratio],
        }

    def by_width(self) -> dict[int, SearchSpace]:
        """A part for each `embed_dim`."""
        return by_embed_dim(self)

    def cost(self, arch: AutoFormer, image_size: int = 224, num_classes: int = 1000) -> Cost:
        """Parameters, and multiply-adds of matrix products, attention and relative positions as our
        model computes them (`vintk_jax.multiply_adds`).

        Relative positions take t (4 g - 1) 64 multiply-adds a head for keys and again for values (g
        tokens a side, t in all), and t^2 (2 g + 2) a head and side where the attention's products
        meet the places of keys and values: together fewer than the textbook form's 2 t^2 64.
        """
        grid = image_size // self.patch_size
        pixels = self.patch_size**2 * 3
        tokens = grid**2 + 1
        e = arch.embed_dim
        params = (pixels + 1) * e + e + tokens * e + 2 * e + (e + 1) * num_classes
        flops = grid**2 * pixels * e + e * num_classes
        for heads, hidden in zip(arch.num_heads, arch.hidden, strict=True):
            width = heads * self.head_dim
            of_block = block_cost(e, width, hidden, tokens)
            params += of_block.params
            flops += of_block.flops
            if self.max_distance:
                params += 4 * (2 * self.max_distance + 2) * self.head_dim
                flops += 2 * tokens * (4 * grid - 1) * width + 2 * tokens**2 * heads * (
                    2 * grid + 2
                )
        return Cost(params, flops)

    def blocks(self, arch: AutoFormer) -> tuple[BlockShape, ...]:
        """See `SearchSpace.blocks`."""
        return tuple(
            BlockShape(arch.embed_dim, hidden, (Heads(heads, self.head_dim),))
            for heads, hidden in zip(arch.num_heads, arch.hidden, strict=True)
        )

    def model(
        self, arch: AutoFormer, image_size: int = 224, in_channels: int = 3, num_classes: int = 1000
    ) -> ViT:
        """A ViT with 64 dimensions a head, relative positions, and the mean over patches ahead of
        the classifier.
        """
        return self._vit(arch.embed_dim, arch.num_heads, arch.hidden, image_size, num_classes)

    def supernet(self, image_size: int = 224, num_classes: int = 1000, **options: Any) -> ViT:
        """The widest, deepest member; scanned, since its blocks are equal, unless `scan=False`."""
        depth = max(self.depth)
        e = max(self.embed_dim)
        hidden = (int(e * max(self.mlp_ratio)),) * depth
        return self._vit(
            e,
            (max(self.num_heads),) * depth,
            hidden,
            image_size,
            num_classes,
            **{"scan": True, **options},
        )

    def _vit(self, embed_dim, num_heads, hidden, image_size, num_classes, **options) -> ViT:
        if image_size % self.patch_size or image_size < self.patch_size:
            raise UserError(
                f"Expected for {self.name} an image size that is a multiple of its patch size, "
                f"{self.patch_size}, got inputs.image_size={image_size}."
            )
        return ViT(
            embed_dim=embed_dim,
            num_heads=num_heads,
            hidden=hidden,
            head_dim=self.head_dim,
            num_classes=num_classes,
            patch_size=self.patch_size,
            native_grid=(image_size // self.patch_size,) * 2,
            max_distance=self.max_distance,
            pool="mean",
            **options,
        )

    def masks(self, arch: AutoFormer) -> dict[str, np.ndarray]:
        """See `ViT.__call__`; the first columns, heads and hidden units and the first blocks are
        the live ones.
        """
        rest = (0,) * (max(self.depth) - arch.depth)
        return {
            "embed": leading_ones(arch.embed_dim, max(self.embed_dim)),
            "alive": leading_ones(arch.depth, max(self.depth)),
            "heads": leading_ones(arch.num_heads + rest, max(self.num_heads)),
            "hidden": leading_ones(
                arch.hidden + rest, int(max(self.embed_dim) * max(self.mlp_ratio))
            ),
        }

    def subnet(self, params: dict, arch: AutoFormer) -> dict:
        """Leading columns of every weight; from a scanned supernet or one that isn't."""
        tree = params["params"]
        e = arch.embed_dim
        cut = {
            "patch_embed": leading(tree["patch_embed"], e),
            "class_token": leading(tree["class_token"], e),
            "positions": leading(tree["positions"], e),
            "norm": leading(tree["norm"], e),
            "head": leading_inputs(tree["head"], e),
        }
        widest = (max(self.num_heads), self.head_dim)
        for i, (heads, hidden) in enumerate(zip(arch.num_heads, arch.hidden, strict=True)):
            cut[f"block_{i}"] = cut_block(
                block_at(tree, i), e, heads, self.head_dim, hidden, widest
            )
        return {"params": cut}

    def cheapest(self) -> AutoFormer:
        """The narrowest, shallowest member."""
        depth = min(self.depth)
        return AutoFormer(
            min(self.embed_dim),
            depth,
            (min(self.num_heads),) * depth,
            (min(self.mlp_ratio),) * depth,
        )

    def size(self) -> int:
        """widths x sum over depths of (heads x ratios)^depth."""
        return len(self.embed_dim) * sum(
            (len(self.num_heads) * len(self.mlp_ratio)) ** depth for depth in self.depth
        )

    def enumerate(self) -> Iterator[AutoFormer]:
        """By width, then depth, then heads, then ratios."""
        for e, depth in itertools.product(self.embed_dim, self.depth):
            for heads in itertools.product(self.num_heads, repeat=depth):
                for ratios in itertools.product(self.mlp_ratio, repeat=depth):
                    yield AutoFormer(e, depth, heads, tuple(map(float, ratios)))


TINY = AutoFormerSpace(
    "autoformer-tiny",
    embed_dim=(192, 216, 240),
    depth=(12, 13, 14),
    num_heads=(3, 4),
    mlp_ratio=(3.5, 4.0),
)
SMALL = AutoFormerSpace(
    "autoformer-small",
    embed_dim=(320, 384, 448),
    depth=(12, 13, 14),
    num_heads=(5, 6, 7),
    mlp_ratio=(3.0, 3.5, 4.0),
)
BASE = AutoFormerSpace(
    "autoformer-base",
    embed_dim=(528, 576, 624),
    depth=(14, 15, 16),
    num_heads=(9, 10),
    mlp_ratio=(3.0, 3.5, 4.0),
)
