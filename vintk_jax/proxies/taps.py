"""Taps on a network's layers, set as the forward pass is traced, scanned or not.

A statistic leaves the network as a cotangent. A `custom_vjp` identity on a layer's output hands it,
in the backward pass, to an argument on which no output depends in value (as in `ntk.taps`). A sum
over layers goes to one extra argument. A list by layer goes to a parameter of each layer, whose
gradient is otherwise zero, since the cotangent of the outputs is zero.
"""

from collections.abc import Callable

import jax
from jaxtyping import Array


def intercepting(types: tuple[type, ...], act: Callable) -> Callable:
    """An interceptor that lets `act(module, call, args, kwargs)` stand for the calls of modules of
    these types.
    """
    busy = []

    def intercept(call, args, kwargs, context):
        module = context.module
        if busy or context.method_name != "__call__" or type(module) not in types:
            return call(*args, **kwargs)
        busy.append(module)
        try:
            return act(module, call, args, kwargs)
        finally:
            busy.pop()

    return intercept


@jax.custom_vjp
def hand_over(y: Array, statistic: Array, tap: Array) -> Array:
    """y; in the backward pass the statistic goes to the tap."""
    return y


def _hand_over_fwd(y, statistic, tap):
    return y, statistic


def _hand_over_bwd(statistic, d):
    return d, None, statistic


hand_over.defvjp(_hand_over_fwd, _hand_over_bwd)
