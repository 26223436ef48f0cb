"""A space around AutoFormerV2-T (S3, Chen et al. 2021, arXiv 2111.14725): depth, width, heads, MLP
ratio and window of four stages.

The published configurations (github.com/microsoft/Cream, AutoFormerV2/configs) give these five for
each stage, the same for all its blocks. The options that they were found among are a figure of the
paper and in no text or code, so the options here are ours: AutoFormerV2-T's widths and heads and
two or three narrower ones in each stage, its depths and those around them, and both of its windows.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.models.swin import Swin
from vintk_jax.spaces.base import Cost, InvalidArchitecture, SearchSpace
from vintk_jax.spaces.block_costs import block_params
from vintk_jax.spaces.by_choices import leading_ones
from vintk_jax.spaces.cutting import block_at, cut_block, leading, leading_inputs

HEAD_DIM = 32
PATCH = 4
FIELDS = ("embed_dim", "depth", "num_heads", "mlp_ratio", "window_size")


@dataclasses.dataclass(frozen=True)
class S3Arch:
    """One architecture; the tuples run over the stages. Heads are 32 wide, whatever the stage's
    width.
    """

    embed_dim: tuple[int, ...]
    depth: tuple[int, ...]
    num_heads: tuple[int, ...]
    mlp_ratio: tuple[float, ...]
    window_size: tuple[int, ...]

    @property
    def hidden(self) -> tuple[int, ...]:
        """MLP width of each stage."""
        return tuple(
            int(dim * ratio) for dim, ratio in zip(self.embed_dim, self.mlp_ratio, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class S3Space(SearchSpace):
    """Choices of each stage, all independent of each other.

    A window is cut to its stage's grid, as in the published code: at 64 px the last two stages have
    4 x 4 and 2 x 2 tokens, so that architectures that differ in these stages' windows alone are one
    network there. Limits are kept at 224 px, where they differ.
    """

    embed_dim: tuple[tuple[int, ...], ...] = (
        (64, 80, 96),
        (128, 160, 192),
        (256, 320, 384),
        (512, 640, 768),
    )
    depth: tuple[tuple[int, ...], ...] = ((1, 2, 3), (1, 2, 3), (4, 6, 8), (1, 2, 3))
    num_heads: tuple[tuple[int, ...], ...] = ((2, 3), (4, 5, 6), (8, 10, 12), (16, 20, 24))
    mlp_ratio: tuple[tuple[float, ...], ...] = ((2.0, 3.0, 4.0),) * 4
    window_size: tuple[tuple[int, ...], ...] = ((7, 14), (7, 14), (7, 14), (7,))

    def choices(self) -> dict[str, tuple]:
        """embed_dim_i, depth_i, num_heads_i, mlp_ratio_i and window_size_i of each stage."""
        return {
            f"{field}_{i}": options
            for field in FIELDS
            for i, options in enumerate(getattr(self, field))
        }

    def decode(self, chosen: Mapping[str, Any]) -> S3Arch:
        """Every decision counts."""
        return S3Arch(
            *(tuple(chosen[f"{field}_{i}"] for i in range(len(self.depth))) for field in FIELDS)
        )

    def encode(self, arch: S3Arch) -> dict[str, Any]:
        """The inverse of `decode`."""
        return {
            f"{field}_{i}": value
            for field in FIELDS
            for i, value in enumerate(getattr(arch, field))
        }

    def from_json(self, fields: Mapping[str, Any]) -> S3Arch:
        """From {"embed_dim": [...], "depth": [...], "num_heads": [...], "mlp_ratio": [...],
        "window_size": [...]}, one entry a stage.
        """
        missing = [field for field in FIELDS if field not in fields]
        if missing:
            raise InvalidArchitecture(
                f"Expected an architecture of {self.name}, got one without {', '.join(missing)}."
            )
        for field in FIELDS:
            options = getattr(self, field)
            values = fields[field]
            listed = isinstance(values, list | tuple) and len(values) == len(options)
            if not listed or any(
                value not in of_stage for value, of_stage in zip(values, options, strict=True)
            ):
                raise InvalidArchitecture(
                    f"Expected for {self.name}, stage by stage, one of {options}, got "
                    f"{field}={values}."
                )
        kind = {"mlp_ratio": float}
        return S3Arch(*(tuple(map(kind.get(field, int), fields[field])) for field in FIELDS))

    def to_json(self, arch: S3Arch) -> dict[str, Any]:
        """To {"embed_dim": [...], "depth": [...], "num_heads": [...], "mlp_ratio": [...],
        "window_size": [...]}.
        """
        return {
            field: [int(value) if value == int(value) else value for value in getattr(arch, field)]
            for field in FIELDS
        }

    def _grids(self, image_size: int) -> list[int]:
        """Tokens a side in each stage."""
        multiple = PATCH * 2 ** (len(self.depth) - 1)
        if image_size < multiple or image_size % multiple:
            raise UserError(
                f"Expected for {self.name} an image size that is a multiple of {multiple}, for "
                f"patches of {PATCH} pixels, halved between {len(self.depth)} stages, got "
                f"inputs.image_size={image_size}."
            )
        return [image_size // PATCH // 2**i for i in range(len(self.depth))]

    def cost(self, arch: S3Arch, image_size: int = 224, num_classes: int = 1000) -> Cost:
        """Parameters, and multiply-adds of matrix products and attention; a grid that windows don't
        divide costs what it is filled up to.
        """
        grids = self._grids(image_size)
        dims = arch.embed_dim
        params = (PATCH**2 * 3 + 1) * dims[0] + 2 * dims[0]
        flops = grids[0] ** 2 * PATCH**2 * 3 * dims[0]
        stages = zip(
            grids, dims, arch.depth, arch.num_heads, arch.hidden, arch.window_size, strict=True
        )
        for i, (grid, e, depth, heads, hidden, window) in enumerate(stages):
            if i:
                params += 4 * dims[i - 1] * (2 + e)
                flops += grid**2 * 4 * dims[i - 1] * e
            side = min(window, grid)
            width = heads * HEAD_DIM
            tokens = grid**2
            full = -(-grid // side) * side
            params += depth * block_params(e, width, hidden)
            params += depth * (2 * side - 1) ** 2 * heads
            # one zero token is projected for all that fill the grid up
            projected = tokens + (full > grid)
            flops += depth * (
                projected * e * 3 * width
                + tokens * e * (width + 2 * hidden)
                + 2 * full**2 * side**2 * width
            )
        return Cost(
            params + 2 * dims[-1] + (dims[-1] + 1) * num_classes, flops + dims[-1] * num_classes
        )

    def model(
        self, arch: S3Arch, image_size: int = 224, in_channels: int = 3, num_classes: int = 1000
    ) -> Swin:
        """The Swin of this architecture."""
        return self._swin(arch, [(window,) for window in arch.window_size], image_size, num_classes)

    def supernet(self, image_size: int = 224, num_classes: int = 1000, **options: Any) -> Swin:
        """The widest, deepest member with all windows; its stages are scanned unless
        `scan=False`.
        """
        return self._swin(
            self._widest(), self.window_size, image_size, num_classes, **{"scan": True, **options}
        )

    def _swin(self, arch, windows, image_size, num_classes, **options) -> Swin:
        cut = tuple(
            tuple(min(window, grid) for window in of_stage)
            for of_stage, grid in zip(windows, self._grids(image_size), strict=True)
        )
        return Swin(
            arch.embed_dim,
            arch.depth,
            arch.num_heads,
            arch.hidden,
            cut,
            HEAD_DIM,
            num_classes,
            PATCH,
            **options,
        )

    def _widest(self) -> S3Arch:
        return S3Arch(*(tuple(map(max, getattr(self, field))) for field in FIELDS))

    def masks(self, arch: S3Arch) -> dict[str, dict[str, np.ndarray]]:
        """See `Swin.__call__`; the first columns, heads and hidden units, and the first blocks are
        the live ones.
        """
        widest = self._widest()
        masks = {}
        for i in range(len(self.depth)):
            alive = leading_ones(arch.depth[i], widest.depth[i])
            windows = np.asarray(self.window_size[i]) == arch.window_size[i]
            masks[f"stage_{i}"] = {
                "embed": leading_ones(arch.embed_dim[i], widest.embed_dim[i]),
                "windows": windows.astype(np.float32),
                "alive": alive,
                "heads": alive[:, None] * leading_ones(arch.num_heads[i], widest.num_heads[i]),
                "hidden": alive[:, None] * leading_ones(arch.hidden[i], widest.hidden[i]),
            }
        return masks

    def stem_masks(self, arch: S3Arch) -> dict[str, Any]:
        """Without windows, too: stems that differ in nothing else are computed once."""
        return {
            name: {**of_stage, "windows": 0 * of_stage["windows"]}
            for name, of_stage in super().stem_masks(arch).items()
        }

    def subnet(self, params: dict, arch: S3Arch) -> dict:
        """Leading columns of every weight, and the positions of the chosen windows; from a scanned
        supernet or one that isn't.
        """
        tree = params["params"]
        dims = arch.embed_dim
        cut = {
            "patch_embed": leading(tree["patch_embed"], dims[0]),
            "patch_norm": leading(tree["patch_norm"], dims[0]),
            "norm": leading(tree["norm"], dims[-1]),
            "head": leading_inputs(tree["head"], dims[-1]),
        }
        for i, depth in enumerate(arch.depth):
            if i:
                cut[f"merge_{i}"] = _cut_merge(tree[f"merge_{i}"], dims[i - 1], dims[i])
            cut[f"stage_{i}"] = {
                f"block_{j}": self._cut_block(block_at(tree[f"stage_{i}"], j), arch, i)
                for j in range(depth)
            }
        return {"params": cut}

    def _cut_block(self, block: Mapping, arch: S3Arch, stage: int) -> dict:
        heads = arch.num_heads[stage]
        cut = cut_block(
            block,
            arch.embed_dim[stage],
            heads,
            HEAD_DIM,
            arch.hidden[stage],
            (max(self.num_heads[stage]), HEAD_DIM),
        )
        prefix = "relative_bias_"
        tables = {
            name: cut["attention"].pop(name)
            for name in list(cut["attention"])
            if name.startswith(prefix)
        }
        largest = max(int(name.removeprefix(prefix)) for name in tables)
        # one that the supernet hasn't was cut to the grid
        window = f"{prefix}{min(arch.window_size[stage], largest)}"
        return {**cut, "attention": {**cut["attention"], window: leading(tables[window], heads)}}

    def cheapest(self) -> S3Arch:
        """The narrowest, shallowest member with the smallest windows: the cheapest at 224 px (where
        the grid is filled up, larger ones may be).
        """
        return S3Arch(*(tuple(map(min, getattr(self, field))) for field in FIELDS))

    def size(self) -> int:
        """Every combination."""
        return math.prod(len(options) for field in FIELDS for options in getattr(self, field))

    def enumerate(self) -> Iterator[S3Arch]:
        """By widths, depths, heads, ratios, windows."""
        for values in itertools.product(
            *(itertools.product(*getattr(self, field)) for field in FIELDS)
        ):
            yield S3Arch(*values)

    def width(self, arch: S3Arch) -> int:
        """Width of the last stage, which the classifier reads."""
        return arch.embed_dim[-1]

    def total_depth(self, arch: S3Arch) -> int:
        """Blocks of all stages."""
        return sum(arch.depth)


def _cut_merge(merge: Mapping, before: int, after: int) -> dict:
    """A merging of four tokens of width `before` to one of width `after`."""
    norm = {
        name: leaf.reshape(4, -1)[:, :before].reshape(-1) for name, leaf in merge["norm"].items()
    }
    kernel = merge["reduction"]["kernel"]
    of_token = kernel.reshape(4, -1, kernel.shape[-1])[:, :before, :after]
    return {"norm": norm, "reduction": {"kernel": of_token.reshape(-1, after)}}


S3 = S3Space("s3")
