"""Resizable ViT: one set of weights, several token lengths (arXiv 2307.02092).

A `ViT` takes any token grid: patch kernel and positions are resampled (`models.resample`), and
`ViT.norm_grids` gives each grid norms of its own; a `TimeSformer` likewise any number of frames and
token grid. In an LV-ViT's stem only the last layer, the patch kernel, is resampled: all lengths
share the others. `fold` turns such weights into the ordinary model of one length, once, ahead of
inference.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.models import resample
from vintk_jax.models.conv_stem import STRIDE
from vintk_jax.models.patch_embed import fit_to_grid
from vintk_jax.models.regions import Regions
from vintk_jax.models.timesformer import TimeSformer, fit_to_length, frames_shown
from vintk_jax.models.vit import ViT

Length = tuple[int, ...] | Regions


def fitted(
    images: Float[Array, " n *image"], grid: Length, stem: bool = False
) -> Float[Array, " n *fitted"]:
    """Images, or clips, as the folded model of a length wants them; one with a stem wants them as
    they are, and fits the stem's features.
    """
    if stem:
        return images
    return fit_to_grid(images, grid) if len(grid) == 2 else fit_to_length(images, grid)


def has_stem(model: ViT | TimeSformer) -> bool:
    """Whether the model's patches are of a stem's features, not of pixels."""
    return bool(getattr(model, "stem_width", 0))


def fold(
    model: ViT | TimeSformer, variables: dict, grid: Length, image_size: int, frames: int = 0
) -> tuple[ViT | TimeSformer, dict]:
    """The ordinary model of one token length, and its variables: kernel and positions resampled,
    norms chosen.

    The two give the same logits, for images or clips that `fitted` has prepared.

    Args:
        grid: token rows and columns, for clips the frames ahead of them.
        image_size: pixels a side of the images that will come.
        frames: of the clips that will come.

    Raises:
        ValueError: for a grid that the model has no norms for, or that makes patches which aren't
            square.
    """
    if model.norm_grids and grid not in model.norm_grids:
        raise ValueError(
            f"Expected one of the token grids that the model has norms for, {model.norm_grids}, "
            f"got {grid}."
        )
    places = grid[-2:]
    cut = -(-image_size // STRIDE) if has_stem(model) else image_size
    sides = tuple(round(cut / g) for g in places)
    if sides[0] != sides[1]:
        raise ValueError(f"Expected as many rows as columns of tokens, got {grid}.")
    tree = dict(variables["params"])
    tree["patch_embed"] = {
        **tree["patch_embed"],
        "kernel": resample.resample_kernel(tree["patch_embed"]["kernel"], sides),
    }

    fields = {
        "patch_size": sides[0] * (STRIDE if has_stem(model) else 1),
        "native_grid": places,
        "norm_grids": (),
    }
    positions = dict(tree["positions"])
    table = "places" if isinstance(model, TimeSformer) else "table"
    positions[table] = resample.resample_positions(positions[table], model.native_grid, places)
    if isinstance(model, TimeSformer):
        fields["native_frames"] = grid[0]
        if "times" in positions:
            shown = frames_shown(frames, grid[0]) * model.native_frames // frames
            positions["times"] = positions["times"][shown]
    tree["positions"] = positions
    if model.norm_grids:
        of_variant = partial(_of_variant, variant=model.norm_grids.index(grid))
        tree = jax.tree_util.tree_map_with_path(of_variant, tree)
    return model.clone(**fields), {"params": tree}


def _of_variant(path: tuple, leaf: Array, variant: int) -> Array:
    """One scale or shift of a norm that has several; in a scanned stack the axis of variants comes
    after that of blocks.
    """
    names = [str(part.key) for part in path]
    if not names[-2].startswith("norm") or names[0] == "stem":
        return leaf
    return jnp.take(leaf, variant, axis=1 if names[0] == "blocks" else 0)
