"""A space around LV-ViT-T and -S (Jiang et al. 2021, arXiv 2104.10858): width, depth, the stem's
channels, heads and MLP ratio of every block.

The paper searches nothing; the options are ours: its two smaller models' widths, depths and stem,
and those around them. Heads are 64 wide as LV-ViT-S's (LV-ViT-T has 60), and residuals are halved
at every depth, as its.
"""

import dataclasses
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.models.conv_stem import SIDES, STRIDE
from vintk_jax.models.vit import ViT
from vintk_jax.spaces.base import Cost, SearchSpace
from vintk_jax.spaces.block_costs import block_cost
from vintk_jax.spaces.block_shapes import BlockShape, Heads
from vintk_jax.spaces.by_choices import leading_ones, of_blocks
from vintk_jax.spaces.cutting import block_at, cut_block, leading, leading_inputs
from vintk_jax.spaces.parts import by_embed_dim

HEAD_DIM = 64
PATCH = 16
RESIDUAL_SCALE = 0.5


@dataclasses.dataclass(frozen=True)
class LvVitSpace(SearchSpace):
    """Choices of the model, and of each of its blocks; an architecture has the attributes
    embed_dim, depth, stem_width, num_heads, mlp_ratio.
    """

    embed_dim: tuple[int, ...] = (192, 240, 288, 336, 384)
    depth: tuple[int, ...] = (12, 14, 16)
    stem_width: tuple[int, ...] = (32, 48, 64)
    num_heads: tuple[int, ...] = (3, 4, 5, 6)
    mlp_ratio: tuple[float, ...] = (2.0, 3.0, 4.0)

    def choices(self) -> dict[str, tuple]:
        """embed_dim, depth, stem_width, and num_heads_i and mlp_ratio_i of each block."""
        of_model = {"embed_dim": self.embed_dim, "depth": self.depth, "stem_width": self.stem_width}
        return {
            **of_model,
            **of_blocks(max(self.depth), num_heads=self.num_heads, mlp_ratio=self.mlp_ratio),
        }

    def by_width(self) -> dict[int, SearchSpace]:
        """A part for each `embed_dim`."""
        return by_embed_dim(self)

    def cost(self, arch: Any, image_size: int = 224, num_classes: int = 1000) -> Cost:
        """Parameters, and multiply-adds of convolutions, matrix products and attention."""
        grid = self._grid(image_size)
        half = image_size // STRIDE
        e = arch.embed_dim
        w = arch.stem_width
        tokens = grid**2 + 1
        side = PATCH // STRIDE
        kernels = sum(k**2 * channels * w for k, channels in zip(SIDES, (3, w, w), strict=True))
        params = (
            kernels
            + 2 * w * len(SIDES)
            + (side**2 * w + 1) * e
            + e
            + tokens * e
            + 2 * e
            + 2 * (e + 1) * num_classes
        )
        flops = half**2 * kernels + grid**2 * side**2 * w * e + tokens * e * num_classes
        for heads, hidden in zip(arch.num_heads, self._hidden(arch), strict=True):
            of_block = block_cost(e, heads * HEAD_DIM, hidden, tokens)
            params += of_block.params
            flops += of_block.flops
        return Cost(params, flops)

    def blocks(self, arch: Any) -> tuple[BlockShape, ...]:
        """See `SearchSpace.blocks`."""
        return tuple(
            BlockShape(arch.embed_dim, hidden, (Heads(heads, HEAD_DIM),))
            for heads, hidden in zip(arch.num_heads, self._hidden(arch), strict=True)
        )

    def model(
        self, arch: Any, image_size: int = 224, in_channels: int = 3, num_classes: int = 1000
    ) -> ViT:
        """An LV-ViT."""
        return self._vit(
            arch.embed_dim,
            arch.stem_width,
            arch.num_heads,
            self._hidden(arch),
            image_size,
            num_classes,
        )

    def supernet(self, image_size: int = 224, num_classes: int = 1000, **options: Any) -> ViT:
        """The widest, deepest member; scanned, since its blocks are equal, unless `scan=False`."""
        depth = max(self.depth)
        e = max(self.embed_dim)
        heads = (max(self.num_heads),) * depth
        hidden = (int(e * max(self.mlp_ratio)),) * depth
        return self._vit(
            e,
            max(self.stem_width),
            heads,
            hidden,
            image_size,
            num_classes,
            **{"scan": True, **options},
        )

    def _vit(
        self, embed_dim, stem_width, num_heads, hidden, image_size, num_classes, **options
    ) -> ViT:
        return ViT(
            embed_dim=embed_dim,
            num_heads=num_heads,
            hidden=hidden,
            head_dim=HEAD_DIM,
            num_classes=num_classes,
            patch_size=PATCH,
            native_grid=(self._grid(image_size),) * 2,
            stem_width=stem_width,
            residual_scale=RESIDUAL_SCALE,
            aux_head=True,
            **options,
        )

    def _grid(self, image_size: int) -> int:
        if image_size % PATCH or image_size < PATCH:
            raise UserError(
                f"Expected for {self.name} an image size that is a multiple of its patch size, "
                f"{PATCH}, got inputs.image_size={image_size}."
            )
        return image_size // PATCH

    def _hidden(self, arch: Any) -> tuple[int, ...]:
        return tuple(int(arch.embed_dim * ratio) for ratio in arch.mlp_ratio)

    def masks(self, arch: Any) -> dict[str, np.ndarray]:
        """See `ViT.__call__`; the first columns, channels, heads and hidden units and the first
        blocks are the live ones.
        """
        rest = (0,) * (max(self.depth) - arch.depth)
        return {
            "embed": leading_ones(arch.embed_dim, max(self.embed_dim)),
            "stem": leading_ones(arch.stem_width, max(self.stem_width)),
            "alive": leading_ones(arch.depth, max(self.depth)),
            "heads": leading_ones(arch.num_heads + rest, max(self.num_heads)),
            "hidden": leading_ones(
                self._hidden(arch) + rest, int(max(self.embed_dim) * max(self.mlp_ratio))
            ),
        }

    def subnet(self, params: dict, arch: Any) -> dict:
        """Leading columns of every weight; from a scanned supernet or one that isn't."""
        tree = params["params"]
        e = arch.embed_dim
        w = arch.stem_width

        def of_stem(name, layer):
            if name.startswith("conv") and name != "conv_0":
                return leading(layer, w, w)
            return leading(layer, w)

        cut = {
            "stem": {name: of_stem(name, layer) for name, layer in tree["stem"].items()},
            "patch_embed": leading(tree["patch_embed"], w, e),
            **{name: leading(tree[name], e) for name in ("class_token", "positions", "norm")},
            **{name: leading_inputs(tree[name], e) for name in ("head", "aux_head")},
        }
        widest = (max(self.num_heads), HEAD_DIM)
        for i, (heads, hidden) in enumerate(zip(arch.num_heads, self._hidden(arch), strict=True)):
            cut[f"block_{i}"] = cut_block(block_at(tree, i), e, heads, HEAD_DIM, hidden, widest)
        return {"params": cut}

    def size(self) -> int:
        """widths x stems x sum over depths of (heads x ratios)^depth."""
        return (
            len(self.embed_dim)
            * len(self.stem_width)
            * sum((len(self.num_heads) * len(self.mlp_ratio)) ** d for d in self.depth)
        )


LVVIT = LvVitSpace("lvvit")
