"""Identities that hand a layer's measure to its tap in the backward pass.

The *tap* is an argument on which no output depends in value. A `custom_vjp` identity passes the
output's cotangent through and gives the layer's measure, usually the n x n Gram matrix of its
gradients, to the tap as the tap's cotangent. The gradient with respect to the tap is then the sum
of all shares, the kernel, and no parameter gradient is ever formed. With a tap for each layer the
shares stay apart.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from vintk_jax.ntk.layer_measures import Tap


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def tap_linear(
    y: Float[Array, "n *out b"],
    x: Float[Array, "n *in a"],
    tap: Tap,
    bias: bool,
    rows: Callable[[Array], Array] | None = None,
) -> Float[Array, "n *out b"]:
    """y = rows(x) W (+ bias), unchanged; in the backward pass the layer's measure goes to the tap.

    Args:
        rows: from x to what W multiplies, called in the backward pass only: patches under a kernel
            take many times the memory of their image. None: x itself.
    """
    return y


def _tap_linear_fwd(y, x, tap, bias, rows):
    return y, (x, tap)


def _tap_linear_bwd(bias, rows, residuals, d):
    x, tap = residuals
    if rows is not None:
        x = rows(x)
    x = x.reshape(x.shape[0], -1, x.shape[-1]).astype(tap.dtype)
    wide = d.reshape(d.shape[0], -1, d.shape[-1]).astype(tap.dtype)
    return d, None, tap.taking(tap.measure.linear(x, wide, bias=bias))


tap_linear.defvjp(_tap_linear_fwd, _tap_linear_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def tap_depthwise(
    y: Float[Array, "n *out b"],
    x: Float[Array, "n *in a"],
    tap: Tap,
    options: tuple[tuple[str, Any], ...],
) -> Float[Array, "n *out b"]:
    """The depth-wise convolution y of a padded x, unchanged; in the backward pass its measure goes
    to the tap (see `contractions.depthwise_gram`).
    """
    return y


def _tap_depthwise_fwd(y, x, tap, options):
    return y, (x, tap)


def _tap_depthwise_bwd(options, residuals, d):
    x, tap = residuals
    share = tap.measure.depthwise(x.astype(tap.dtype), d.astype(tap.dtype), dict(options))
    return d, None, tap.taking(share)


tap_depthwise.defvjp(_tap_depthwise_fwd, _tap_depthwise_bwd)


@jax.custom_vjp
def tap_copies(parameters: PyTree[Float[Array, "..."]], tap: Tap) -> PyTree[Float[Array, "n ..."]]:
    """One copy of each parameter per sample; the copies' cotangents are the per-sample gradients,
    whose measure goes to the tap.
    """

    def copies(parameter):
        return jnp.broadcast_to(parameter, (tap.samples, *parameter.shape))

    return jax.tree.map(copies, parameters)


def _tap_copies_fwd(parameters, tap):
    return tap_copies(parameters, tap), tap


def _tap_copies_bwd(tap, copies):
    gradients = [g.astype(tap.dtype) for g in jax.tree.leaves(copies)]
    return None, tap.taking(tap.measure.gradients(gradients))


tap_copies.defvjp(_tap_copies_fwd, _tap_copies_bwd)
