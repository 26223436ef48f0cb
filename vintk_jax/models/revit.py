"""Resizable ViT: one set of weights, several token lengths (arXiv 2307.02092).

A `ViT` takes any token grid: patch kernel and positions are resampled (`models.resample`), and `ViT.norm_grids` gives each grid norms of its own.
Here is what turns such weights into the ordinary ViT of one length, once, ahead of inference.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from vintk_jax.models import resample
from vintk_jax.models.patch_embed import Grid
from vintk_jax.models.vit import ViT


def fold(model: ViT, variables: dict, grid: Grid, image_size: int) -> tuple[ViT, dict]:
    """The ordinary ViT of one token length, and its variables: kernel and positions resampled, norms chosen.

    The two give the same logits, for images that `patch_embed.fit_to_grid` has prepared.

    Args:
        grid: token rows and columns.
        image_size: pixels a side of the images that will come.

    Raises:
        ValueError: for a grid that the model has no norms for, or that makes patches which aren't square.
    """
    if model.norm_grids and grid not in model.norm_grids:
        raise ValueError(f"A grid of {grid} tokens came; this model has norms for {model.norm_grids}.")
    sides = tuple(round(image_size / g) for g in grid)
    if sides[0] != sides[1]:
        raise ValueError(f"A grid of {grid} tokens came; square images want as many rows as columns.")
    tree = dict(variables["params"])
    tree["patch_embed"] = {**tree["patch_embed"], "kernel": resample.resample_kernel(tree["patch_embed"]["kernel"], sides)}
    tree["positions"] = {"table": resample.resample_positions(tree["positions"]["table"], model.native_grid, grid)}
    if model.norm_grids:
        tree = jax.tree_util.tree_map_with_path(lambda path, leaf: _of_variant(path, leaf, model.norm_grids.index(grid)), tree)
    return model.clone(patch_size=sides[0], native_grid=grid, norm_grids=()), {"params": tree}


def _of_variant(path: tuple, leaf: Array, variant: int) -> Array:
    """One scale or shift of a norm that has several; in a scanned stack the axis of variants comes after that of blocks."""
    names = [str(part.key) for part in path]
    if not names[-2].startswith("norm"):
        return leaf
    return jnp.take(leaf, variant, axis=1 if names[0] == "blocks" else 0)
