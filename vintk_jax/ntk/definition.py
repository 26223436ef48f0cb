"""The kernel by its definition, from the full Jacobian in float64: slow and large. Every faster
implementation is compared with it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float


def jacobian(
    apply: Callable, params: Any, x: Any
) -> Float[np.ndarray, "samples outputs parameters"]:
    """d apply(params, x) / d params by reverse mode in float64; all axes of the outputs but the
    first are one.
    """
    with jax.enable_x64(True):
        params, x = jax.tree.map(partial(np.asarray, dtype=np.float64), (params, x))
        leaves, tree = jax.tree.flatten(params)

        @jax.jit
        @jax.jacrev
        def run(leaves, x):
            return apply(jax.tree.unflatten(tree, leaves), x).reshape(len(x), -1)

        rows = run(leaves, x)
        return np.concatenate([np.asarray(r).reshape(*r.shape[:2], -1) for r in rows], axis=-1)


def kernel(
    full: Float[np.ndarray, "samples outputs parameters"],
    directions: Float[np.ndarray, "*outputs count"],
) -> Float[np.ndarray, "samples samples"]:
    """J_v J_v' of the outputs along each direction v, averaged over directions."""
    vectors = np.asarray(directions, np.float64).reshape(full.shape[1], -1)
    along = np.einsum("nkp,kv->vnp", full, vectors)
    return (along @ along.transpose(0, 2, 1)).mean(0)
