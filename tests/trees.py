"""What tests do with trees of arrays, and the names that parametrised tests go by."""

from functools import partial

import jax
import numpy as np


def float64(tree):
    """The tree with NumPy arrays of that type."""
    return jax.tree.map(partial(np.asarray, dtype=np.float64), tree)


def stacked(trees):
    """Trees of one structure as one, each leaf with a new first axis."""

    def stack(*leaves):
        return np.stack(leaves)

    return jax.tree.map(stack, *trees)


def name_of(value):
    """The name of a space or another object with one; pytest's own for other values."""
    return getattr(value, "name", None)
