"""Making a file's weights the variables of a model: every one matched by path and shape, patch
kernel and positions resampled.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vintk_jax.models import resample
from vintk_jax.models.passes import drawn
from vintk_jax.models.timesformer import TimeSformer
from vintk_jax.models.vit import ViT

Plain = dict[str, np.ndarray]  # by path, blocks unrolled, norms without a length's axis
Say = Callable[[str], None]


def variables_like(model: ViT | TimeSformer) -> dict[str, Any]:
    """Shapes of a model's variables."""
    side = (model.native_grid[0] * model.patch_size, model.native_grid[1] * model.patch_size)
    frames = (model.native_frames,) if isinstance(model, TimeSformer) else ()
    images = jax.ShapeDtypeStruct((1, *frames, *side, 3), jnp.float32)

    def init(key, images):
        return drawn(model, key, images, model.norm_grids or (None,))

    return jax.eval_shape(init, jax.random.key(0), images)


def _names(path: tuple) -> list[str]:
    return [str(part.key) for part in path]


def _lengths_axis(names: list[str], model: ViT | TimeSformer) -> bool:
    return bool(model.norm_grids) and names[-2].startswith("norm")


def wanted_shapes(model: ViT | TimeSformer) -> dict[str, tuple[int, ...]]:
    """The shape of every weight, by path."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables_like(model)["params"]):
        names = _names(path)
        shape = leaf.shape
        if names[0] == "blocks":  # scanned: all blocks in one array
            places = [f"block_{i}" for i in range(shape[0])]
            inner = names[2:]
            shape = shape[1:]
        else:
            places = names[:1]
            inner = names[1:]
        if _lengths_axis(names, model):
            shape = shape[1:]
        shapes |= {"/".join([place, *inner]): tuple(shape) for place in places}
    return shapes


def assembled(plain: Mapping[str, np.ndarray], model: ViT | TimeSformer) -> dict[str, Any]:
    """Variables: norms copied to each token length, blocks stacked where the model scans."""

    def gather(path, leaf):
        names = _names(path)

        def array_at(*path: str) -> np.ndarray:
            array = plain["/".join(path)]
            if _lengths_axis(names, model):
                return np.broadcast_to(array, (len(model.norm_grids), *array.shape))
            return array

        if names[0] != "blocks":
            return jnp.asarray(array_at(*names))
        blocks = [array_at(f"block_{i}", *names[2:]) for i in range(leaf.shape[0])]
        return jnp.asarray(np.stack(blocks))

    return {"params": jax.tree_util.tree_map_with_path(gather, variables_like(model)["params"])}


def resampled(plain: Plain, model: ViT | TimeSformer, say: Say) -> Plain:
    """Patch kernel and positions for the model's patch size and grid, times for its frames. What
    can't be resampled is left as it is.

    Patch kernels are resampled by PI-resize, positions bilinearly (`models.resample`), times by the
    nearest (Hugging Face's rule). A table without a row for the class token, as FlexiViT's and DeiT
    III's, gets one of zeros.
    """
    fitting = dict(plain)
    side = (model.patch_size, model.patch_size)
    grid = model.native_grid
    kernel = plain.get("patch_embed/kernel")
    if kernel is not None and kernel.ndim == 4 and kernel.shape[:2] != side:
        fitting["patch_embed/kernel"] = np.asarray(
            resample.resample_kernel(jnp.asarray(kernel), side)
        )
        say(
            f"The patch kernel was resampled from {kernel.shape[0]} to {side[0]} pixels a side "
            "(PI-resize)."
        )
    for name in ("positions/table", "positions/places"):
        table = plain.get(name)
        if table is None or table.ndim != 2:
            continue
        old = grid_of_table(len(table), grid)
        if old is None:
            continue
        if len(table) == old[0] * old[1]:
            table = np.concatenate([np.zeros_like(table[:1]), table])
        if old != grid:
            table = np.asarray(resample.resample_positions(jnp.asarray(table), old, grid))
            say(
                f"Positions were resampled from {old[0]} x {old[1]} to {grid[0]} x {grid[1]} "
                "tokens (bilinearly)."
            )
        fitting[name] = table
    times = plain.get("positions/times")
    if times is not None and isinstance(model, TimeSformer) and len(times) != model.native_frames:
        frames = model.native_frames
        nearest = ((np.arange(frames) + 0.5) * len(times) / frames).astype(int)
        fitting["positions/times"] = times[nearest]
        say(f"Times were resampled from {len(times)} to {frames} frames (the nearest).")
    return fitting


def grid_of_table(rows: int, wanted: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """Token rows and columns of a position table, with or without a row for the class token. They
    are the wanted ones, or square. None if neither fits.
    """
    if wanted and rows - wanted[0] * wanted[1] in (0, 1):
        return wanted
    for tokens in (rows, rows - 1):
        side = round(tokens**0.5) if tokens > 0 else 0
        if side and side**2 == tokens:
            return side, side
    return None
