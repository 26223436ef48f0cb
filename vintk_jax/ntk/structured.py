"""The empirical NTK of any Linen model from one forward and one backward pass per cotangent: no
per-sample Jacobian.

`rules` says how a layer adds its share. Here the rules are put around a model, by intercepting its
modules' calls. `model_check` refuses a model that they would get wrong.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import unflatten_dict
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from vintk_jax.models.stacking import TAPS
from vintk_jax.ntk import rules
from vintk_jax.ntk.intercepting import UnsupportedModel, intercepting
from vintk_jax.ntk.layer_measures import KERNEL, Measure, Tap
from vintk_jax.ntk.model_check import Structure

_TAP = "tap"  # the variable's name within the collection


def _tapped(
    apply: Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    find_tap: Callable,
    by_sample: Mapping[str, tuple[int | str, ...]],
) -> Float[Array, " n *outputs"]:
    """The outputs, each layer with a rule handing its measure to the tap `find_tap(module)`."""

    def act(rule, module, call, args, kwargs):
        further = by_sample.get("/".join(module.path), ())
        if rule is rules.per_sample and further:
            rule = partial(rules.per_sample, further=further)
        return rule(module, call, args, kwargs, find_tap(module))

    with intercepting(act):
        return apply(params, inputs)


def _along(
    backward: Callable, directions: Float[Array, "*outputs count"], y: Float[Array, " n *outputs"]
) -> Any:
    """What comes back from each direction, averaged over directions."""

    def along(direction):
        return backward(jnp.broadcast_to(direction, y.shape).astype(y.dtype))[0]

    if directions.shape[-1] == 1:
        return along(directions[..., 0])
    each = jax.lax.map(along, jnp.moveaxis(directions, -1, 0))
    return jax.tree.map(partial(jnp.mean, axis=0), each)


def kernel(
    apply: Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    directions: Float[Array, "*outputs count"],
    structure: Structure,
    dtype: DTypeLike,
) -> Float[Array, "n n"]:
    """The NTK averaged over directions; see `vintk_jax.ntk.kernel`."""

    def outputs(tap):
        def find_tap(module):
            return tap

        return _tapped(apply, params, inputs, find_tap, structure.by_sample)

    y, backward = jax.vjp(outputs, Tap.zeros(KERNEL, inputs.shape[0], dtype))
    return _along(backward, directions, y).values


def by_layer(
    apply: Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    directions: Float[Array, "*outputs count"],
    structure: Structure,
    measure: Measure,
    dtype: DTypeLike,
) -> dict[str, Float[Array, "..."]]:
    """A measure of each layer, averaged over directions; see `vintk_jax.ntk.by_layer`.

    The layers' taps are variables beside the parameters, so that a scan over blocks hands each
    block its own.
    """
    n = inputs.shape[0]
    taps = {}
    for path, stacked in structure.layers.items():
        modules = path.split("/") if path else ()
        taps[(*modules, _TAP)] = jnp.zeros((*stacked, *measure.shape(n)), dtype)

    def find_tap(module: nn.Module) -> Tap:
        values = module.get_variable(TAPS, _TAP)
        if values is None:
            raise UnsupportedModel(
                f"{'/'.join(module.path)} was given no tap: it stands in a scan (or another lifted "
                f"transform) that doesn't pass on the collection {TAPS!r}. Add {{{TAPS!r}: 0}} to "
                "its variable_axes."
            )
        return Tap(values, measure, n)

    def outputs(taps):
        variables = {**params, TAPS: unflatten_dict(taps)}
        return _tapped(apply, variables, inputs, find_tap, structure.by_sample)

    y, backward = jax.vjp(outputs, taps)
    measured = _along(backward, directions, y)
    return {"/".join(path[:-1]): values for path, values in measured.items()}
