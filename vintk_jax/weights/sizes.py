"""The sizes of the model that a file of weights is for, and the config of a training that would
have left it.
"""

import dataclasses
import math
from typing import Any

import ml_collections

from vintk_jax.command_line import take_compile_cache
from vintk_jax.defaults.clips import clips
from vintk_jax.defaults.training import training
from vintk_jax.errors import UserError
from vintk_jax.models.timesformer import ClipGrid
from vintk_jax.weights.fit import grid_of_table
from vintk_jax.weights.mismatch import heads_of
from vintk_jax.weights.rules import Mapped

_HEAD_DIM = 64  # of DeiT, AugReg, FlexiViT and the like, where the file doesn't say


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What a file's shapes say.

    Attributes:
        num_heads: 0 where only `_HEAD_DIM` can be guessed by.
        patch_size: pixels a side; grid: tokens a side that positions are for.
        attention, frames: of a TimeSformer, else empty.
    """

    embed_dim: int
    depth: int
    hidden: int
    num_heads: int
    patch_size: int
    grid: int
    num_classes: int
    attention: str = ""
    frames: int = 0

    @classmethod
    def of(cls, mapped: Mapped) -> "Sizes":
        """Raises: UserError: for a file that lacks what sizes are read from, or has rectangular
        grids or blocks that differ.
        """
        arrays = mapped.arrays
        positions = arrays.get("positions/table", arrays.get("positions/places"))
        needed = [
            arrays.get(name) for name in ("patch_embed/kernel", "head/bias", "block_0/mlp/fc1/bias")
        ]
        if positions is None or any(array is None for array in needed):
            lost = sorted({name for names in mapped.missing.values() for name in names})
            raise UserError(
                f"{mapped.opened.path} ({mapped.scheme.title}) has no whole classifier; missing "
                f"are {', '.join(lost)}."
            )
        kernel, bias, hidden = needed
        grid = grid_of_table(len(positions))
        if grid is None or kernel.shape[0] != kernel.shape[1]:
            raise UserError(
                f"Expected positions of a square grid and square patches in {mapped.opened.path}, "
                f"got {len(positions)} positions and patches of {kernel.shape[:2]}."
            )
        widths = {len(array) for path, array in arrays.items() if path.endswith("/mlp/fc1/bias")}
        if len(widths) > 1:
            raise UserError(
                f"Expected blocks of one MLP width in {mapped.opened.path}, got {sorted(widths)}."
            )
        return cls(
            embed_dim=kernel.shape[-1],
            depth=mapped.depth,
            hidden=len(hidden),
            num_heads=heads_of(mapped),
            patch_size=kernel.shape[0],
            grid=grid[0],
            num_classes=len(bias),
            **_clip_sizes(mapped),
        )


def _clip_sizes(mapped: Mapped) -> dict[str, Any]:
    """Attention and frames of a TimeSformer. Empty for a model of images."""
    if "positions/places" not in mapped.arrays:
        return {}
    times = mapped.arrays.get("positions/times")
    if times is None:
        frames = int(mapped.opened.described.get("num_frames") or 8)
        attention = "space"
    else:
        frames = len(times)
        attention = "joint"
    if "block_0/time_out/kernel" in mapped.arrays:
        attention = "divided"
    return {"attention": attention, "frames": frames}


def training_config(config: ml_collections.ConfigDict, sizes: Sizes) -> ml_collections.ConfigDict:
    """The training of no steps that starts from these weights: what `infer` and `assign` read in a
    workdir.

    Args:
        config: of `python -m vintk_jax.weights`.

    Raises:
        UserError: for heads that can't be told.
    """
    made = clips() if sizes.attention else training()
    take_compile_cache(made)
    guessed_heads = sizes.embed_dim // _HEAD_DIM if sizes.embed_dim % _HEAD_DIM == 0 else 0
    heads = config.num_heads or sizes.num_heads or guessed_heads
    if not heads and not config.arch:
        raise UserError(
            f"How many heads a block of width {sizes.embed_dim} has can't be told from "
            f"{config.weights}; set num_heads."
        )
    made.model.update(
        arch=config.arch,
        embed_dim=sizes.embed_dim,
        depth=sizes.depth,
        num_heads=heads or 1,
        mlp_ratio=_ratio(sizes.hidden, sizes.embed_dim),
        pool=config.pool,
        patch_size=sizes.patch_size,
        separate_norms=False,
        weights=config.weights,
        weights_pixels=config.pixels,
        dtype=config.dtype,
    )
    made.data.update(config.data)
    made.data.image_size = config.data.image_size or sizes.patch_size * sizes.grid
    made.optimizer.epochs = 0.0
    if sizes.attention:
        lengths: tuple[ClipGrid, ...] = tuple(map(tuple, config.lengths)) or (
            (sizes.frames, sizes.grid),
        )
        made.clips.update(frames=sizes.frames, attention=sizes.attention, lengths=lengths)
    else:
        made.model.lengths = tuple(config.lengths) or (sizes.grid,)
    return made


def _ratio(hidden: int, embed_dim: int) -> float:
    """A ratio that times the width, rounded down, gives the MLP's width again."""
    ratio = hidden / embed_dim
    return ratio if int(embed_dim * ratio) == hidden else math.nextafter(ratio, math.inf)
