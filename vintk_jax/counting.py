"""Multiply-adds of a program, read off its trace: nothing is computed."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core


def multiply_adds(function: Callable, *arguments: Any) -> int:
    """Multiply-adds of all matrix products and convolutions in one call; loops counted as often as they run.

    A product takes batch m n k, a convolution (k inputs per group) for each output. Norms, softmax and other element-wise work are left out, as
    in the papers' tables.

    Args:
        arguments: arrays, or `jax.ShapeDtypeStruct`s in their places.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of_jaxpr(jaxpr: Any) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += math.prod(eqn.outvars[0].aval.shape) * math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
        if eqn.primitive.name == "conv_general_dilated":
            kernel = eqn.invars[1].aval.shape
            total += math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
        times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        total += times * sum(_of_jaxpr(inner) for inner in jax.extend.core.jaxprs_in_params(eqn.params))
    return total
