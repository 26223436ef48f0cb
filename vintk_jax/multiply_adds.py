"""Multiply-adds of a program, read off its trace: nothing is computed."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp

# The definition's number, which what was counted is kept with. 1 left out relative positions'
# products and segmenters' upsampling.
DEFINITION = 2
# Products under `jax.named_scope` of this name are a convolution, written out.
CONVOLUTION = "convolution_by_products"


def multiply_adds(function: Callable, *arguments: Any) -> int:
    """Multiply-adds of all matrix products and convolutions in one call; loops counted as often as
    they run.

    A matrix product takes batch x m x n x k. A convolution takes (k inputs per group) for each
    output; an output at the border counts as one inside, padding or not. What stands for them
    counts, too: `sum(a[:, None] * b, 2)` is a matrix product, and products in a scope named
    `CONVOLUTION` are those of a convolution. Norms, softmax and other element-wise work are left
    out, as in the papers' tables.

    This is the one definition: a space's `cost` is this number for its `model`.

    Args:
        arguments: arrays, or `jax.ShapeDtypeStruct`s in their places.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of_jaxpr(jaxpr: Any) -> int:
    total = 0
    made_by = {}
    for eqn in jaxpr.eqns:
        made_by.update(dict.fromkeys(map(id, eqn.outvars), eqn))
        if eqn.primitive.name == "reduce_sum" and _is_spread_product(
            made_by.get(id(eqn.invars[0])), made_by
        ):
            total += math.prod(eqn.invars[0].aval.shape)
        if eqn.primitive.name == "mul" and CONVOLUTION in str(eqn.source_info.name_stack):
            total += math.prod(eqn.outvars[0].aval.shape)
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += math.prod(eqn.outvars[0].aval.shape) * math.prod(
                eqn.invars[0].aval.shape[i] for i in contracted
            )
        if eqn.primitive.name == "conv_general_dilated":
            kernel = eqn.invars[1].aval.shape
            total += (
                math.prod(eqn.outvars[0].aval.shape)
                * math.prod(kernel)
                // kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
            )
        times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        total += times * sum(
            _of_jaxpr(inner) for inner in jax.extend.core.jaxprs_in_params(eqn.params)
        )
    return total


def _is_spread_product(eqn: Any, made_by: dict[int, Any]) -> bool:
    """Whether an equation multiplies two arrays that were both enlarged by repetition."""
    if eqn is None or eqn.primitive.name != "mul":
        return False
    size = math.prod(eqn.outvars[0].aval.shape)
    sources = [made_by.get(id(var)) for var in eqn.invars]

    def spread(source):
        return source is not None and source.primitive.name == "broadcast_in_dim"

    return all(
        spread(source) and math.prod(source.invars[0].aval.shape) < size for source in sources
    )


@functools.lru_cache(maxsize=1024)
def of_resizing(old: tuple[int, ...], new: tuple[int, ...]) -> int:
    """Multiply-adds of `jax.image.resize`, bilinear: products with constant matrices.

    Args:
        old, new: shapes before and after.
    """

    def resize(image):
        return jax.image.resize(image, new, "bilinear")

    return multiply_adds(resize, jax.ShapeDtypeStruct(old, jnp.float32))
