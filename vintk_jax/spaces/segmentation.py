"""Spaces of segmenters: a ViT's width, three stages of depth, heads and MLP ratio, and the decoder
on it (our choice; see `models.segmenter`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.models.segmenter import DECODERS, Segmenter
from vintk_jax.multiply_adds import of_resizing
from vintk_jax.spaces.base import Cost, SearchSpace
from vintk_jax.spaces.block_costs import block_cost
from vintk_jax.spaces.by_choices import leading_ones
from vintk_jax.spaces.cutting import block_at, cut_block, leading, leading_inputs
from vintk_jax.spaces.parts import by_embed_dim

_BY_STAGE = ("depth", "num_heads", "mlp_ratio")


@dataclasses.dataclass(frozen=True)
class SegmenterArch:
    """One architecture; the tuples run over the stages."""

    embed_dim: int
    depth: tuple[int, ...]
    num_heads: tuple[int, ...]
    mlp_ratio: tuple[float, ...]
    decoder: str

    @property
    def hidden(self) -> tuple[int, ...]:
        """MLP width of each stage."""
        return tuple(int(self.embed_dim * ratio) for ratio in self.mlp_ratio)


@dataclasses.dataclass(frozen=True)
class SegmenterSpace(SearchSpace):
    """Choices; all stages share theirs.

    Attributes:
        stages: how many. head_dim, patch_size, conv_width, mask_depth, mask_heads, mask_hidden: the
        same for all members (see `Segmenter`).
        resolution: height and width in pixels that costs are stated for; num_classes: likewise.
    """

    embed_dim: tuple[int, ...] = (192, 256, 320)
    depth: tuple[int, ...] = (2, 3, 4)
    num_heads: tuple[int, ...] = (3, 4, 5)
    mlp_ratio: tuple[float, ...] = (2.0, 3.0, 4.0)
    decoders: tuple[str, ...] = DECODERS
    stages: int = 3
    head_dim: int = 64
    patch_size: int = 16
    conv_width: int = 128
    mask_depth: int = 2
    mask_heads: int = 3
    mask_hidden: int = 768
    resolution: tuple[int, int] = (512, 512)
    num_classes: int = 150

    @property
    def cost_size(self) -> tuple[int, int]:
        """`resolution`."""
        return self.resolution

    def choices(self) -> dict[str, tuple]:
        """embed_dim, decoder, and depth_i, num_heads_i and mlp_ratio_i of each stage."""
        of_stages = {
            f"{name}_{i}": getattr(self, name) for i in range(self.stages) for name in _BY_STAGE
        }
        return {"embed_dim": self.embed_dim, "decoder": self.decoders, **of_stages}

    def decode(self, chosen: Mapping[str, Any]) -> SegmenterArch:
        """Every decision counts."""
        depth, heads, ratios = (
            tuple(chosen[f"{name}_{i}"] for i in range(self.stages)) for name in _BY_STAGE
        )
        return SegmenterArch(
            chosen["embed_dim"], depth, heads, tuple(map(float, ratios)), chosen["decoder"]
        )

    def by_width(self) -> dict[int, SearchSpace]:
        """A part for each `embed_dim`."""
        return by_embed_dim(self)

    def cost(
        self, arch: SegmenterArch, image_size: int | tuple[int, int] = 0, num_classes: int = 0
    ) -> Cost:
        """Parameters, and multiply-adds of matrix products, convolutions (borders as inner pixels),
        attention and upsampling, which is a product with a constant (`vintk_jax.multiply_adds`).

        Args:
            image_size: pixels a side, or height and width; 0: `resolution`.
            num_classes: 0: the space's.
        """
        rows, columns = self._grid(image_size)
        k = num_classes or self.num_classes
        e = arch.embed_dim
        t = rows * columns
        params = (self.patch_size**2 * 3 + 1) * e + t * e
        flops = t * self.patch_size**2 * 3 * e
        for depth, heads, hidden in zip(arch.depth, arch.num_heads, arch.hidden, strict=True):
            of_block = block_cost(e, heads * self.head_dim, hidden, t)
            params += depth * of_block.params
            flops += depth * of_block.flops
        w = self.conv_width
        flops += self._upsampling(arch, rows, columns, k)
        if arch.decoder == "linear":
            return Cost(params + 2 * e + (e + 1) * k, flops + t * e * k)
        if arch.decoder == "mask":
            of_block = block_cost(e, self.mask_heads * self.head_dim, self.mask_hidden, t + k)
            params += 2 * e + (e + 1) * e + k * e + 2 * e + 2 * e * e + 2 * k
            flops += t * e * e + (t + k) * e * e + t * k * e
            return Cost(
                params + self.mask_depth * of_block.params,
                flops + self.mask_depth * of_block.flops,
            )
        params += self.stages * (2 * e + (e + 1) * w) + 2 * (9 * w * w + w + 2 * w) + (w + 1) * k
        return Cost(params, flops + self.stages * t * e * w + 5 * t * 9 * w * w + 4 * t * w * k)

    def _upsampling(self, arch: SegmenterArch, rows: int, columns: int, classes: int) -> int:
        """Multiply-adds from the decoder's grid to pixels, and within the convolutional decoder."""
        pixels = (rows * self.patch_size, columns * self.patch_size, classes)
        if arch.decoder != "conv":
            return of_resizing((rows, columns, classes), pixels)
        width = self.conv_width
        within = of_resizing((rows, columns, width), (2 * rows, 2 * columns, width))
        return within + of_resizing((2 * rows, 2 * columns, classes), pixels)

    def _grid(self, image_size: int | tuple[int, int]) -> tuple[int, int]:
        if isinstance(image_size, int) and image_size:
            sides = (image_size, image_size)
        else:
            sides = image_size or self.resolution
        if min(sides) < self.patch_size:
            raise UserError(
                f"Expected for {self.name} an image size of {self.patch_size} pixels at least, its "
                f"patch size, got inputs.image_size={image_size}."
            )
        return -(-sides[0] // self.patch_size), -(-sides[1] // self.patch_size)

    def model(
        self,
        arch: SegmenterArch,
        image_size: int | tuple[int, int] = 0,
        in_channels: int = 3,
        num_classes: int = 0,
    ) -> Segmenter:
        """The segmenter of this architecture; sizes as in `cost`."""
        return Segmenter(
            embed_dim=arch.embed_dim,
            depths=arch.depth,
            num_heads=arch.num_heads,
            hidden=arch.hidden,
            head_dim=self.head_dim,
            num_classes=num_classes or self.num_classes,
            patch_size=self.patch_size,
            native_grid=self._grid(image_size),
            decoders=(arch.decoder,),
            conv_width=self.conv_width,
            mask_depth=self.mask_depth,
            mask_heads=self.mask_heads,
            mask_hidden=self.mask_hidden,
        )

    def supernet(
        self, image_size: int | tuple[int, int] = 0, num_classes: int = 0, **options: Any
    ) -> Segmenter:
        """The widest, deepest member with all decoders; its stages are scanned unless
        `scan=False`.
        """
        model = self.model(self._widest(), image_size, num_classes=num_classes)
        return dataclasses.replace(model, decoders=self.decoders, **{"scan": True, **options})

    def _widest(self) -> SegmenterArch:
        largest = (tuple([max(getattr(self, name))] * self.stages) for name in _BY_STAGE)
        return SegmenterArch(max(self.embed_dim), *largest, self.decoders[0])

    def masks(self, arch: SegmenterArch) -> dict[str, Any]:
        """See `Segmenter.__call__`; the first columns, heads and hidden units, and the first blocks
        of each stage are the live ones.
        """
        embed = leading_ones(arch.embed_dim, max(self.embed_dim))
        blocks = max(self.depth)
        masks: dict[str, Any] = {
            "embed": embed,
            "decoder": np.float32([kind == arch.decoder for kind in self.decoders]),
        }
        for i, (depth, heads, hidden) in enumerate(
            zip(arch.depth, arch.num_heads, arch.hidden, strict=True)
        ):
            alive = leading_ones(depth, blocks)
            masks[f"stage_{i}"] = {
                "embed": embed,
                "alive": alive,
                "heads": alive[:, None] * leading_ones(heads, max(self.num_heads)),
                "hidden": alive[:, None] * leading_ones(hidden, self._widest().hidden[i]),
            }
        return masks

    def subnet(self, params: dict, arch: SegmenterArch) -> dict:
        """Leading columns of every weight; from a scanned supernet or one that isn't."""
        tree = params["params"]
        e = arch.embed_dim
        cut = {
            "patch_embed": leading(tree["patch_embed"], e),
            "positions": leading(tree["positions"], e),
            "head": {arch.decoder: self._cut_decoder(tree["head"][arch.decoder], arch)},
        }
        widest = (max(self.num_heads), self.head_dim)
        for i, (depth, heads, hidden) in enumerate(
            zip(arch.depth, arch.num_heads, arch.hidden, strict=True)
        ):
            blocks = [block_at(tree[f"stage_{i}"], j) for j in range(depth)]
            narrow = [cut_block(block, e, heads, self.head_dim, hidden, widest) for block in blocks]
            cut[f"stage_{i}"] = {f"block_{j}": block for j, block in enumerate(narrow)}
        return {"params": cut}

    def _cut_decoder(self, tree: Mapping, arch: SegmenterArch) -> dict:
        """Of a decoder only what meets tokens has their width."""
        e = arch.embed_dim
        cut = {}
        for name, part in tree.items():
            if name.startswith("block_"):
                heads = (self.mask_heads, self.head_dim)
                cut[name] = cut_block(part, e, *heads, self.mask_hidden, heads)
            elif name.startswith("project"):
                cut[name] = leading(part, e, e)
            elif name == "classes" or name in (
                "norm",
                "norm_out",
                *(f"norm_{i}" for i in range(self.stages)),
            ):
                cut[name] = leading(part, e)
            elif name.startswith("lateral") or (name, arch.decoder) == ("classify", "linear"):
                cut[name] = leading_inputs(part, e)
            else:
                cut[name] = dict(part)
        return cut

    def cheapest(self) -> SegmenterArch:
        """The narrowest, shallowest member, with the decoder of the fewest multiply-adds."""
        least = (tuple([min(getattr(self, name))] * self.stages) for name in _BY_STAGE)
        return SegmenterArch(
            min(self.embed_dim), *least, "linear" if "linear" in self.decoders else self.decoders[0]
        )


SMALL = SegmenterSpace("seg-small")
MINI = SegmenterSpace(
    "seg-mini",
    embed_dim=(48, 64, 80, 96),
    depth=(1, 2, 3),
    num_heads=(2, 3, 4),
    mlp_ratio=(1.0, 2.0, 3.0),
    head_dim=16,
    patch_size=8,
    conv_width=32,
    mask_depth=1,
    mask_heads=4,
    mask_hidden=128,
    resolution=(180, 240),
    num_classes=11,
)
