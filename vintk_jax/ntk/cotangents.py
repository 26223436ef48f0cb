"""The output directions that a kernel is taken along.

For outputs f(x) in R^K and a direction v, K_v(x, x') = <d v'f(x) / d theta, d v'f(x') / d theta>.
Every choice of `cotangent` is a set of directions, and the kernel is the mean over the set:

- sum: one direction of ones, the summed logits, as TE-NAS has it (Chen et al. 2021, arXiv
  2102.11535, its public code).
- random: directions from N(0, I / K). Their expected kernel is that of `full`, at a K-th of the
  cost (Hutchinson's estimator).
- full: all K unit vectors: the trace over outputs divided by K, neural-tangents'
  `trace_axes=(-1,)`.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.errors import UserError

COTANGENTS = ("sum", "random", "full")  # also in defaults.scoring


def directions(
    cotangent: str, outputs: tuple[int, ...], key: jax.Array | None = None, count: int = 1
) -> Float[Array, "*outputs count"]:
    """The directions whose kernels are averaged.

    Args:
        cotangent: one of `COTANGENTS`.
        outputs: shape of one sample's output, (classes,) or (height, width, classes).
        key: for `random`.
        count: how many random directions.

    Raises:
        UserError: for another name, or `random` without a key.
    """
    size = math.prod(outputs)
    if cotangent == "sum":
        return jnp.ones((*outputs, 1))
    if cotangent == "full":
        return jnp.eye(size).reshape(*outputs, size) * 1.0
    if cotangent == "random":
        if key is None:
            raise UserError("cotangent='random' needs a PRNG key; pass key=jax.random.key(seed).")
        if count < 1:
            raise UserError(f"Expected ntk.num_directions of 1 at least, got {count}.")
        return jax.random.normal(key, (*outputs, count)) * size**-0.5
    raise UserError(
        f"Expected ntk.cotangent to be one of {', '.join(COTANGENTS)}, got {cotangent!r}."
    )


def given_or_drawn(
    cotangent: str | Array,
    shape: tuple[int, ...],
    key: jax.Array | None,
    num_directions: int,
    dtype: DTypeLike,
) -> Float[Array, "*outputs count"]:
    """The directions of a name, or those that were given themselves.

    Raises:
        UserError: as `directions`; or for directions that don't fit one sample's output.
    """
    if isinstance(cotangent, str):
        return directions(cotangent, shape, key, num_directions).astype(dtype)
    if cotangent.shape[:-1] != shape or not cotangent.ndim or not cotangent.shape[-1]:
        wanted = ", ".join(map(str, shape))
        raise UserError(
            f"Expected directions of shape ({wanted}, count), got {cotangent.shape}: one vector of "
            "outputs for each direction, along the last axis. One direction v is v[..., None]."
        )
    return cotangent.astype(dtype)
