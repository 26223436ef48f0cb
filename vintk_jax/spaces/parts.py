"""Parts of a space by width (`SearchSpace.by_width`): what their supernets take of the whole
one's weights and masks.
"""

import dataclasses
from typing import Any

import jax


def by_embed_dim(space: Any) -> dict[int, Any]:
    """A part for each width, of a space that is a dataclass with its widths in `embed_dim`."""
    return {width: dataclasses.replace(space, embed_dim=(width,)) for width in space.embed_dim}


def leading_entries(tree: Any, like: Any, *, axes: int = 0) -> Any:
    """Of each array the leading entries along every axis, as many as `like` has.

    Args:
        like: arrays, or their shapes, in a tree of the same form.
        axes: how many axes of each array stand ahead of those that are cut.

    Raises:
        ValueError: where the trees differ, or an array has fewer entries or other axes.
    """

    def corner(array, wanted):
        behind = array.shape[axes:]
        shape = wanted.shape
        if len(behind) != len(shape) or any(has < wants for has, wants in zip(behind, shape)):
            raise ValueError(f"Expected at least {shape} entries to cut from, got {behind}.")
        return array[(slice(None),) * axes + tuple(map(slice, shape))]

    return jax.tree.map(corner, tree, like)
