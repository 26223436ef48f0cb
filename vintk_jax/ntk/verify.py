"""Is the structured kernel of a model its kernel? Two samples, two gradients, one comparison.

`model_check` looks for the faults that are known. This check knows the right answer. For two
samples and one random direction v it computes the gradients of v'f(x_1) and v'f(x_2) by reverse
mode, as any library would, and compares their four inner products with the structured kernel. The
parameters are moved at random first: zeros that training starts from (gates, biases) would hide
faults.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxprs_in_params
from jaxtyping import Array, Float, Shaped

from vintk_jax.ntk import structured
from vintk_jax.ntk.intercepting import UnsupportedModel
from vintk_jax.ntk.model_check import Structure, check_model

_MOVED = 0.1  # deviation of what is added to the parameters
_LEAST = 1e-6  # a relative difference that rounding in float64 doesn't reach

_KEPT = 64  # functions that are known as checked

_checked: dict[Any, bool] = {}

_Function = Callable[[dict, Array], Array]


class WrongKernel(UnsupportedModel):
    """The structured kernel differs from the gradients'."""


def verify(
    apply: _Function, params: dict, inputs: Shaped[Array, "n ..."], known_as: Any = None
) -> None:
    """Compare both kernels of a function (params, inputs) -> outputs on its first two samples.

    In float64; where the model computes in another type (`dtype=bfloat16`), the tolerance is the
    square root of that type's precision: errors of rounding add up to less, and the faults that
    were seen are of 3% and more. A function is checked once for parameters and inputs of the same
    shapes.

    Args:
        known_as: the model that the function is of, by which it is known again; the function itself
            without it.

    Raises:
        WrongKernel: naming the difference.
        UnsupportedModel: as `model_check.check_model`.
    """
    leaves, tree = jax.tree.flatten((params, inputs))
    shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
    known = (known_as or apply, tree, shapes)
    try:
        if known in _checked:
            return
    except TypeError:  # a function that can't be hashed is checked each time
        known = None
    _compare(apply, params, inputs)
    if known is not None:
        _checked[known] = True
        while len(_checked) > _KEPT:
            _checked.pop(next(iter(_checked)))


def _compare(apply: _Function, params: dict, inputs: Shaped[Array, "n ..."]) -> None:
    rng = np.random.default_rng(0)

    def moved(leaf):
        leaf = np.asarray(leaf)
        if not np.issubdtype(leaf.dtype, np.floating):
            return leaf
        return leaf.astype(np.float64) + _MOVED * rng.standard_normal(leaf.shape)

    params = jax.tree.map(moved, jax.device_get(params))
    samples = np.asarray(jax.device_get(inputs[:2]))
    if np.issubdtype(samples.dtype, np.floating):
        samples = samples.astype(np.float64)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        params, samples = jax.tree.map(jnp.asarray, (params, samples))
        structure = check_model(apply, params, samples)
        direction = jnp.asarray(rng.standard_normal((*structure.outputs, 1)))
        both = jax.jit(functools.partial(_both_kernels, apply, structure))
        kernel, wanted = map(np.asarray, both(params, samples, direction))
        scale = np.abs(wanted).max()
        apart = np.abs(kernel - wanted).max() / scale if scale else np.abs(kernel).max()
        precision = _lowest_precision(apply, params, samples)
    tolerance = max(_LEAST, precision**0.5)
    if not apart <= tolerance:
        raise WrongKernel(
            f"The structured kernel of this model is wrong: {apart:.1%} from that of its gradients "
            f"on two samples ({tolerance:.1g} were allowed). Seen causes: parameters that the "
            "function has from elsewhere or stops (`stop_gradient`), samples that are mixed "
            "(batch statistics), `nn.vmap` or `nn.map_variables` over parameters, a registered "
            "rule that doesn't fit its layer. Set ntk.implementation=neural_tangents "
            '(implementation="neural_tangents"), which is right for any function.'
        )


def _both_kernels(
    apply: _Function,
    structure: Structure,
    params: dict,
    samples: Shaped[Array, "n ..."],
    direction: Float[Array, "*outputs 1"],
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """The structured kernel, and the gradients'."""
    kernel = structured.kernel(apply, params, samples, direction, structure, jnp.float64)

    def along(weights):
        y = apply({**params, "params": weights}, samples)
        return jnp.sum((y * direction[..., 0]).reshape(len(samples), -1), axis=1)

    _, backward = jax.vjp(along, params["params"])
    gradients = [jax.tree.leaves(backward(row)[0]) for row in jnp.eye(len(samples))]
    wanted = [[sum(map(jnp.vdot, one, other)) for other in gradients] for one in gradients]
    return kernel, jnp.array(wanted)


def _lowest_precision(apply: _Function, params: dict, samples: Shaped[Array, "n ..."]) -> float:
    """The precision of the coarsest type that the function computes in; 0 if that is float64."""

    def of(jaxpr) -> float:
        precisions = [
            float(jnp.finfo(var.aval.dtype).eps)
            for eqn in jaxpr.eqns
            for var in eqn.outvars
            if hasattr(var.aval, "dtype") and jnp.issubdtype(var.aval.dtype, jnp.floating)
        ]
        inner = [of(one) for eqn in jaxpr.eqns for one in jaxprs_in_params(eqn.params)]
        return max([0.0, *precisions, *inner])

    coarsest = of(jax.make_jaxpr(apply)(params, samples).jaxpr)
    return coarsest if coarsest > float(jnp.finfo(jnp.float64).eps) else 0.0
