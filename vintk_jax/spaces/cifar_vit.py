"""The space `cifar-vit`: small vision transformers for images of 32 pixels, in which size says
little.

The published spaces vary width, depth, heads and MLP ratios, and accuracy there follows the number
of parameters. Here the patch size, a convolutional stem, what the classifier reads, the width of a
head and the scale of the residuals are choices, too, and each trades parameters for multiply-adds
in its own way. The choices are ours: no paper has this space. `benchmarks/cifar_table.py` trained
members of it.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.models.conv_stem import SIDES, STRIDE
from vintk_jax.models.staged_vit import HALF, POOLS, StagedViT
from vintk_jax.spaces.base import Cost, SearchSpace
from vintk_jax.spaces.block_costs import block_cost
from vintk_jax.spaces.block_shapes import BlockShape, Heads
from vintk_jax.spaces.by_choices import leading_ones
from vintk_jax.spaces.cutting import block_at, cut_block, leading, leading_inputs


@dataclasses.dataclass(frozen=True)
class CifarVitArch:
    """One architecture.

    Attributes:
        patch_size: pixels a side of a patch.
        stem_width: channels of the convolutional stem; 0: none.
        pool: what the classifier reads, "token" or "mean".
        residual_scale: what residuals are multiplied by.
        head_dim, num_heads: of all blocks.
        embed_dim: width of each stage.
        depth: blocks of each stage.
        mlp_ratio: of each block, from the first stage's first to the last stage's last.
    """

    patch_size: int
    stem_width: int
    pool: str
    residual_scale: float
    head_dim: int
    num_heads: int
    embed_dim: tuple[int, ...]
    depth: tuple[int, ...]
    mlp_ratio: tuple[float, ...]

    @property
    def hidden(self) -> tuple[tuple[int, ...], ...]:
        """MLP widths, stage by stage."""
        ends = list(itertools.accumulate(self.depth, initial=0))
        return tuple(
            tuple(int(dim * ratio) for ratio in self.mlp_ratio[start:end])
            for dim, (start, end) in zip(self.embed_dim, itertools.pairwise(ends), strict=True)
        )


@dataclasses.dataclass(frozen=True)
class CifarVitSpace(SearchSpace):
    """Choices; `embed_dim` and `depth` are those of every stage."""

    patch_size: tuple[int, ...] = (2, 4, 8)
    stem_width: tuple[int, ...] = (0, 16)
    pool: tuple[str, ...] = POOLS
    residual_scale: tuple[float, ...] = (HALF, 1.0)
    head_dim: tuple[int, ...] = (8, 16, 32)
    num_heads: tuple[int, ...] = (2, 4)
    embed_dim: tuple[int, ...] = (24, 32, 48, 64, 96)
    depth: tuple[int, ...] = (1, 2, 3, 4)
    mlp_ratio: tuple[float, ...] = (1.0, 2.0, 4.0)
    stages: int = 2

    @property
    def cost_size(self) -> tuple[int, int]:
        """CIFAR-10's images."""
        return (32, 32)

    def choices(self) -> dict[str, tuple]:
        """One decision for each attribute of an architecture; of `embed_dim` and `depth` one a
        stage, of `mlp_ratio` one for each block that a stage may have.
        """
        of_model = ("patch_size", "stem_width", "pool", "residual_scale", "head_dim", "num_heads")
        blocks = range(self.stages * max(self.depth))
        return {
            **{name: getattr(self, name) for name in of_model},
            **{f"embed_dim_{i}": self.embed_dim for i in range(self.stages)},
            **{f"depth_{i}": self.depth for i in range(self.stages)},
            **{f"mlp_ratio_{i}": self.mlp_ratio for i in blocks},
        }

    def decode(self, chosen: Mapping[str, Any]) -> CifarVitArch:
        """Ratios of blocks that a stage doesn't have are dropped."""
        depth = tuple(chosen[f"depth_{i}"] for i in range(self.stages))
        ratios = tuple(
            chosen[f"mlp_ratio_{stage * max(self.depth) + block}"]
            for stage, of_stage in enumerate(depth)
            for block in range(of_stage)
        )
        return CifarVitArch(
            patch_size=chosen["patch_size"],
            stem_width=chosen["stem_width"],
            pool=chosen["pool"],
            residual_scale=chosen["residual_scale"],
            head_dim=chosen["head_dim"],
            num_heads=chosen["num_heads"],
            embed_dim=tuple(chosen[f"embed_dim_{i}"] for i in range(self.stages)),
            depth=depth,
            mlp_ratio=ratios,
        )

    def encode(self, arch: CifarVitArch) -> dict[str, Any]:
        """The inverse of `decode`; a block that isn't there has the first ratio."""
        chosen = {}
        ratios = list(arch.mlp_ratio)
        deepest = max(self.depth)
        for name in self.choices():
            field, _, place = name.rpartition("_")
            if hasattr(arch, name):
                chosen[name] = getattr(arch, name)
            elif field == "mlp_ratio":
                stage, block = divmod(int(place), deepest)
                depth = arch.depth[stage] if stage < len(arch.depth) else 0
                there = depth in self.depth and block < depth
                chosen[name] = ratios.pop(0) if there and ratios else self.mlp_ratio[0]
            else:
                values = getattr(arch, field)
                chosen[name] = values[int(place)] if int(place) < len(values) else None
        return chosen

    def cost(self, arch: CifarVitArch, image_size: int = 32, num_classes: int = 10) -> Cost:
        """Parameters, and multiply-adds of convolutions, matrix products and attention."""
        patches = self._grid(image_size, arch) ** 2
        tokens = patches + 1
        inner = arch.num_heads * arch.head_dim
        side = arch.patch_size
        channels = 3
        first = arch.embed_dim[0]
        params = 0
        flops = 0
        if arch.stem_width:
            w = arch.stem_width
            ahead = (3, w, w)
            kernels = sum(k**2 * a * w for k, a in zip(SIDES, ahead, strict=True))
            params += kernels + 2 * w * len(SIDES)
            flops += (image_size // STRIDE) ** 2 * kernels
            side //= STRIDE
            channels = w
        params += (side**2 * channels + 1) * first + first + tokens * first
        flops += patches * side**2 * channels * first
        before = first
        for i, (e, hidden) in enumerate(zip(arch.embed_dim, arch.hidden, strict=True)):
            if i:
                params += (before + 1) * e
                flops += tokens * before * e
            for m in hidden:
                of_block = block_cost(e, inner, m, tokens)
                params += of_block.params
                flops += of_block.flops
            before = e
        params += 2 * before + (before + 1) * num_classes
        return Cost(params, flops + before * num_classes)

    def _grid(self, image_size: int, arch: CifarVitArch | None = None) -> int:
        """Patches a side."""
        largest = max(self.patch_size)
        if image_size % largest or image_size < largest:
            raise UserError(
                f"Expected for {self.name} an image size that is a multiple of {largest}, its "
                f"largest patch, got inputs.image_size={image_size}. The table is of "
                "--config.inputs.image_size=32."
            )
        return image_size // (largest if arch is None else arch.patch_size)

    def pools(self, arch: CifarVitArch) -> bool:
        """As the architecture has it."""
        return arch.pool == "mean"

    def blocks(self, arch: CifarVitArch) -> tuple[BlockShape, ...]:
        """See `SearchSpace.blocks`."""
        heads = (Heads(arch.num_heads, arch.head_dim),)
        return tuple(
            BlockShape(e, hidden, heads)
            for e, of_stage in zip(arch.embed_dim, arch.hidden, strict=True)
            for hidden in of_stage
        )

    def model(
        self,
        arch: CifarVitArch,
        image_size: int = 32,
        in_channels: int = 3,
        num_classes: int = 10,
    ) -> StagedViT:
        """The network of this architecture."""
        self._grid(image_size)
        return StagedViT(
            image_size,
            (arch.patch_size,),
            (arch.stem_width,),
            arch.embed_dim,
            arch.num_heads,
            arch.head_dim,
            arch.hidden,
            arch.pool,
            arch.residual_scale,
            num_classes,
        )

    def supernet(self, image_size: int = 32, num_classes: int = 10, **options: Any) -> StagedViT:
        """The widest, deepest member with every patch size; its stages are scanned unless
        `scan=False`.
        """
        self._grid(image_size)
        widest = max(self.embed_dim)
        hidden = (int(widest * max(self.mlp_ratio)),) * max(self.depth)
        return StagedViT(
            image_size,
            self.patch_size,
            self.stem_width,
            (widest,) * self.stages,
            max(self.num_heads),
            max(self.head_dim),
            (hidden,) * self.stages,
            num_classes=num_classes,
            **{"scan": True, **options},
        )

    def masks(self, arch: CifarVitArch) -> dict[str, Any]:
        """See `StagedViT.__call__`; the first columns, heads, dimensions of a head and hidden
        units, and the first blocks of a stage are the live ones.
        """
        widest = max(self.embed_dim)
        deepest = max(self.depth)
        of_block = np.outer(
            leading_ones(arch.num_heads, max(self.num_heads)),
            leading_ones(arch.head_dim, max(self.head_dim)),
        )
        masks: dict[str, Any] = {
            "patch_size": np.float32(np.asarray(self.patch_size) == arch.patch_size),
            "stem": np.float32(arch.stem_width > 0),
            "mean": np.float32(arch.pool == "mean"),
            "full": np.float32(arch.residual_scale == 1),
        }
        for i, (e, depth) in enumerate(zip(arch.embed_dim, arch.depth, strict=True)):
            alive = leading_ones(depth, deepest)
            hidden = arch.hidden[i] + (0,) * (deepest - depth)
            masks[f"stage_{i}"] = {
                "embed": leading_ones(e, widest),
                "alive": alive,
                "heads": alive[:, None, None] * of_block,
                "hidden": leading_ones(hidden, int(widest * max(self.mlp_ratio))),
            }
        return masks

    def subnet(self, params: dict, arch: CifarVitArch) -> dict:
        """Leading columns of every weight; from a scanned supernet or one that isn't."""
        tree = params["params"]
        dims = arch.embed_dim
        source = "from_stem" if arch.stem_width else "from_pixels"
        patch = f"{source}_{arch.patch_size}"
        positions = f"positions_{arch.patch_size}"
        cut = {
            **{name: leading(tree[name], dims[0]) for name in (patch, positions, "class_token")},
            "norm": leading(tree["norm"], dims[-1]),
            "head": leading_inputs(tree["head"], dims[-1]),
        }
        if arch.stem_width:
            cut["stem"] = dict(tree["stem"])
        widest = (max(self.num_heads), max(self.head_dim))
        for i, (e, hidden) in enumerate(zip(dims, arch.hidden, strict=True)):
            if i:
                cut[f"widen_{i}"] = leading(tree[f"widen_{i}"], dims[i - 1], e)
            cut[f"stage_{i}"] = {
                f"block_{j}": cut_block(
                    block_at(tree[f"stage_{i}"], j), e, arch.num_heads, arch.head_dim, m, widest
                )
                for j, m in enumerate(hidden)
            }
        return {"params": cut}

    def size(self) -> int:
        """The choices of the model and of each stage, times the ratios of each stage's blocks."""
        of_model = (self.patch_size, self.stem_width, self.pool, self.residual_scale)
        of_all = (*of_model, self.head_dim, self.num_heads)
        of_stage = len(self.embed_dim) * sum(len(self.mlp_ratio) ** d for d in self.depth)
        return int(np.prod([len(options) for options in of_all])) * of_stage**self.stages

    def enumerate(self) -> Iterator[CifarVitArch]:
        """By patch size, stem, pool, scale, heads, widths, depths, ratios."""
        of_model = (self.patch_size, self.stem_width, self.pool, self.residual_scale)
        for values in itertools.product(*of_model, self.head_dim, self.num_heads):
            for dims in itertools.product(self.embed_dim, repeat=self.stages):
                for depth in itertools.product(self.depth, repeat=self.stages):
                    for ratios in itertools.product(self.mlp_ratio, repeat=sum(depth)):
                        yield CifarVitArch(*values, dims, depth, ratios)

    def width(self, arch: CifarVitArch) -> int:
        """Width of the last stage, which the classifier reads."""
        return arch.embed_dim[-1]

    def total_depth(self, arch: CifarVitArch) -> int:
        """Blocks of all stages."""
        return sum(arch.depth)


CIFAR_VIT = CifarVitSpace("cifar-vit")
