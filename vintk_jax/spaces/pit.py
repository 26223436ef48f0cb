"""The PiT space: head width, MLP ratio, and depth and heads of three stages (Auto-Prox's, arXiv
2312.09059, on Heo et al. 2021).
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.models.pit import PiT, halved
from vintk_jax.spaces.base import Cost, InvalidArchitecture, SearchSpace
from vintk_jax.spaces.block_costs import block_cost
from vintk_jax.spaces.block_shapes import BlockShape, Heads
from vintk_jax.spaces.by_choices import leading_ones
from vintk_jax.spaces.cutting import block_at, cut_block, leading, leading_inputs

PATCH = 16
STRIDE = 8


@dataclasses.dataclass(frozen=True)
class PitArch:
    """One architecture; the tuples run over the stages. A stage is base_dim x its heads wide."""

    base_dim: int
    mlp_ratio: int
    depth: tuple[int, ...]
    num_heads: tuple[int, ...]

    @property
    def embed_dims(self) -> tuple[int, ...]:
        """Width of each stage."""
        return tuple(self.base_dim * heads for heads in self.num_heads)

    @property
    def hidden(self) -> tuple[int, ...]:
        """MLP width of each stage."""
        return tuple(dim * self.mlp_ratio for dim in self.embed_dims)


def _text(heads: tuple[int, ...]) -> str:
    return "-".join(map(str, heads))


@dataclasses.dataclass(frozen=True)
class PitSpace(SearchSpace):
    """Choices; heads never fall from one stage to the next (a depth-wise pooling can't narrow)."""

    base_dim: tuple[int, ...] = (16, 24, 32, 40)
    mlp_ratio: tuple[int, ...] = (2, 4, 6, 8)
    depth: tuple[tuple[int, ...], ...] = ((1, 2, 3), (4, 6, 8), (2, 4, 6))
    num_heads: tuple[int, ...] = (2, 4, 8)

    def _heads(self) -> list[tuple[int, ...]]:
        """Heads of all stages together: one decision, since they depend on each other."""
        return list(
            itertools.combinations_with_replacement(sorted(self.num_heads), len(self.depth))
        )

    def choices(self) -> dict[str, tuple]:
        """base_dim, mlp_ratio, depth_i of each stage, and num_heads of all, as in "2-4-8"."""
        depths = {f"depth_{i}": options for i, options in enumerate(self.depth)}
        return {
            "base_dim": self.base_dim,
            "mlp_ratio": self.mlp_ratio,
            **depths,
            "num_heads": tuple(map(_text, self._heads())),
        }

    def decode(self, chosen: Mapping[str, Any]) -> PitArch:
        """Every decision counts."""
        depth = tuple(chosen[f"depth_{i}"] for i in range(len(self.depth)))
        return PitArch(
            chosen["base_dim"],
            chosen["mlp_ratio"],
            depth,
            tuple(map(int, chosen["num_heads"].split("-"))),
        )

    def encode(self, arch: PitArch) -> dict[str, Any]:
        """The inverse of `decode`."""
        depths = {f"depth_{i}": depth for i, depth in enumerate(arch.depth)}
        return {
            "base_dim": arch.base_dim,
            "mlp_ratio": arch.mlp_ratio,
            **depths,
            "num_heads": _text(arch.num_heads),
        }

    def from_json(self, fields: Mapping[str, Any]) -> PitArch:
        """From {"base_dim", "mlp_ratio", "depth": [...], "num_heads": [...]}."""
        missing = {"base_dim", "mlp_ratio", "depth", "num_heads"} - set(fields)
        if missing:
            raise InvalidArchitecture(
                f"Expected an architecture of {self.name}, got one without "
                f"{', '.join(sorted(missing))}."
            )
        arch = PitArch(
            fields["base_dim"],
            fields["mlp_ratio"],
            tuple(fields["depth"]),
            tuple(fields["num_heads"]),
        )
        for field in ("base_dim", "mlp_ratio"):
            if getattr(arch, field) not in getattr(self, field):
                options = ", ".join(map(str, getattr(self, field)))
                raise InvalidArchitecture(
                    f"Expected for {self.name} one of {options}, got "
                    f"{field}={getattr(arch, field)}."
                )
        if len(arch.depth) != len(self.depth) or any(
            d not in options for d, options in zip(arch.depth, self.depth, strict=True)
        ):
            raise InvalidArchitecture(
                f"Expected for {self.name}, stage by stage, one of {self.depth}, got "
                f"depth={list(arch.depth)}."
            )
        if arch.num_heads not in self._heads():
            raise InvalidArchitecture(
                f"Expected for {self.name} {len(self.depth)} of {self.num_heads}, none below the "
                f"one before, got num_heads={list(arch.num_heads)}."
            )
        return arch

    def to_json(self, arch: PitArch) -> dict[str, Any]:
        """To {"base_dim", "mlp_ratio", "depth": [...], "num_heads": [...]}."""
        return {
            "base_dim": arch.base_dim,
            "mlp_ratio": arch.mlp_ratio,
            "depth": list(arch.depth),
            "num_heads": list(arch.num_heads),
        }

    def cost(self, arch: PitArch, image_size: int = 224, num_classes: int = 1000) -> Cost:
        """Parameters, and multiply-adds of matrix products, convolutions (borders as inner pixels)
        and attention.
        """
        grid = _grid(self.name, image_size)
        dims = arch.embed_dims
        patches = grid[0] * grid[1]
        params = (PATCH**2 * 3 + 1) * dims[0] + dims[0] + patches * dims[0]
        flops = patches * PATCH**2 * 3 * dims[0]
        for i, (e, hidden, depth) in enumerate(zip(dims, arch.hidden, arch.depth, strict=True)):
            if i:
                grid = halved(grid)
                params += (9 + 1) * e + (dims[i - 1] + 1) * e
                flops += grid[0] * grid[1] * 9 * e + dims[i - 1] * e
            tokens = grid[0] * grid[1] + 1
            of_block = block_cost(e, e, hidden, tokens)
            params += depth * of_block.params
            flops += depth * of_block.flops
        return Cost(
            params + 2 * dims[-1] + (dims[-1] + 1) * num_classes, flops + dims[-1] * num_classes
        )

    def pools(self, arch: PitArch) -> bool:
        """A class token is read."""
        return False

    def blocks(self, arch: PitArch) -> tuple[BlockShape, ...]:
        """See `SearchSpace.blocks`."""
        stages = zip(arch.embed_dims, arch.hidden, arch.num_heads, arch.depth, strict=True)
        return tuple(
            BlockShape(e, hidden, (Heads(heads, arch.base_dim),))
            for e, hidden, heads, depth in stages
            for _ in range(depth)
        )

    def model(
        self, arch: PitArch, image_size: int = 224, in_channels: int = 3, num_classes: int = 1000
    ) -> PiT:
        """The PiT of this architecture."""
        grid = _grid(self.name, image_size)
        return PiT(
            arch.embed_dims,
            arch.depth,
            arch.num_heads,
            arch.hidden,
            arch.base_dim,
            num_classes,
            PATCH,
            STRIDE,
            grid,
        )

    def supernet(self, image_size: int = 224, num_classes: int = 1000, **options: Any) -> PiT:
        """The widest, deepest member; its stages are scanned unless `scan=False`."""
        widest = self._widest()
        return dataclasses.replace(
            self.model(widest, image_size, num_classes=num_classes), **{"scan": True, **options}
        )

    def _widest(self) -> PitArch:
        return PitArch(
            max(self.base_dim),
            max(self.mlp_ratio),
            tuple(map(max, self.depth)),
            (max(self.num_heads),) * len(self.depth),
        )

    def masks(self, arch: PitArch) -> dict[str, dict[str, np.ndarray]]:
        """See `PiT.__call__`; the first columns, heads, dimensions of a head and hidden units, and
        the first blocks are the live ones.
        """
        widest = self._widest()
        masks = {}
        for i, (e, heads, hidden, depth) in enumerate(
            zip(arch.embed_dims, arch.num_heads, arch.hidden, arch.depth, strict=True)
        ):
            alive = leading_ones(depth, widest.depth[i])
            of_block = np.outer(
                leading_ones(heads, max(self.num_heads)),
                leading_ones(arch.base_dim, max(self.base_dim)),
            )
            masks[f"stage_{i}"] = {
                "embed": leading_ones(e, widest.embed_dims[i]),
                "alive": alive,
                "heads": alive[:, None, None] * of_block,
                "hidden": alive[:, None] * leading_ones(hidden, widest.hidden[i]),
            }
        return masks

    def subnet(self, params: dict, arch: PitArch) -> dict:
        """Leading columns of every weight; from a scanned supernet or one that isn't."""
        tree = params["params"]
        dims = arch.embed_dims
        cut = {
            "patch_embed": leading(tree["patch_embed"], dims[0]),
            "class_token": leading(tree["class_token"], dims[0]),
            "positions": leading(tree["positions"], dims[0]),
            "norm": leading(tree["norm"], dims[-1]),
            "head": leading_inputs(tree["head"], dims[-1]),
        }
        widest = (max(self.num_heads), max(self.base_dim))
        for i, depth in enumerate(arch.depth):
            if i:
                cut[f"pool_{i}"] = leading(tree[f"pool_{i}"], dims[i])
                cut[f"pool_token_{i}"] = leading(tree[f"pool_token_{i}"], dims[i - 1], dims[i])
            sizes = (dims[i], arch.num_heads[i], arch.base_dim, arch.hidden[i], widest)
            cut[f"stage_{i}"] = {
                f"block_{j}": cut_block(block_at(tree[f"stage_{i}"], j), *sizes)
                for j in range(depth)
            }
        return {"params": cut}

    def cheapest(self) -> PitArch:
        """The narrowest, shallowest member."""
        return PitArch(
            min(self.base_dim),
            min(self.mlp_ratio),
            tuple(map(min, self.depth)),
            (min(self.num_heads),) * len(self.depth),
        )

    def size(self) -> int:
        """Every combination."""
        depths = int(np.prod([len(options) for options in self.depth]))
        return len(self.base_dim) * len(self.mlp_ratio) * depths * len(self._heads())

    def enumerate(self) -> Iterator[PitArch]:
        """By head width, MLP ratio, depths, heads."""
        for dim, ratio in itertools.product(self.base_dim, self.mlp_ratio):
            for depth, heads in itertools.product(itertools.product(*self.depth), self._heads()):
                yield PitArch(dim, ratio, depth, heads)

    def width(self, arch: PitArch) -> int:
        """Width of the last stage, which the classifier reads."""
        return arch.embed_dims[-1]

    def total_depth(self, arch: PitArch) -> int:
        """Blocks of all stages."""
        return sum(arch.depth)


def _grid(name: str, image_size: int) -> tuple[int, int]:
    if image_size < PATCH or (image_size - PATCH) % STRIDE:
        raise UserError(
            f"Expected for {name} an image size of {PATCH} and a multiple of {STRIDE} more, for "
            f"patches of {PATCH} pixels, {STRIDE} apart, got inputs.image_size={image_size}."
        )
    return ((image_size - PATCH) // STRIDE + 1,) * 2


PIT = PitSpace("pit")
