"""Does the structured kernel fit a model? A trace of the model tells; nothing is computed.

Refused are parameters outside any rule, and parameters that are read more than once outside their
rule (a Dense called twice, a block shared over depth): their cross terms would be missing in a sum
of shares.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import Array, Shaped

from vintk_jax.errors import UserError
from vintk_jax.ntk.intercepting import OTHERWISE, UnsupportedModel
from vintk_jax.ntk.model_trace import PROBE, count_uses, read_outside, traced


@dataclasses.dataclass(frozen=True)
class Structure:
    """What a trace of a model says about it.

    Attributes:
        outputs: shape of one sample's output.
        layers: for each layer with parameters, by its path, the axes that a scan has stacked its
            parameters along: () for a layer of its own, (depth,) for one of each scanned block.
        by_sample: for layers that take more than one argument with the samples on its first axis,
            by their path, the places of the further ones, or their keywords.
    """

    outputs: tuple[int, ...]
    layers: dict[str, tuple[int, ...]]
    by_sample: dict[str, tuple[int | str, ...]]


def check_model(apply: Callable, params: dict, inputs: Shaped[Array, "n ..."]) -> Structure:
    """Refuse a model that the structured kernel would get wrong.

    Traces the model once, and once without its layers.

    Raises:
        UnsupportedModel: naming the module that has parameters and no rule, or whose parameters are
            used more often than its rule joins.
    """
    if not isinstance(params, Mapping) or "params" not in params:
        came = ", ".join(map(str, params)) if isinstance(params, Mapping) else type(params).__name__
        raise UnsupportedModel(
            f'Expected variables as model.init gives them, {{"params": ...}}, got {came}. For a '
            f"function of parameters in another form {OTHERWISE}"
        )
    # Traced on an unlikely number of samples, so that a layer whose first axis is another one can
    # be told by its size.
    probe = jax.ShapeDtypeStruct((PROBE, *inputs.shape[1:]), inputs.dtype)
    trace = traced(apply, params, inputs, probe)
    of_sample = output_shape(trace.outputs, PROBE)
    uses = count_uses(trace.jaxpr)
    outside = read_outside(apply, params, probe, trace.returned)
    layers: dict[str, tuple[int, ...]] = {}
    leaves = jax.tree_util.tree_leaves_with_path(params["params"])
    for (key_path, leaf), is_outside in zip(leaves, outside, strict=True):
        *modules, name = [str(key.key) for key in key_path]
        path = "/".join(modules)
        _check_parameter(path, name, leaf, trace.parameters, uses, is_outside)
        layers[path] = leaf.shape[: leaf.ndim - len(trace.parameters[path][name])]
    by_sample = {path: places for path, places in trace.by_sample.items() if places}
    return Structure(of_sample, layers, by_sample)


def output_shape(outputs: Any, samples: int) -> tuple[int, ...]:
    """The shape of one sample's output.

    Args:
        outputs: what a model returned for so many samples: an array, or its shape and type.

    Raises:
        UserError: for anything but one array with the samples on its first axis.
    """
    if not hasattr(outputs, "shape"):
        raise UserError(
            f"Expected a model whose output is one array, got a {type(outputs).__name__}. Give a "
            "function that returns the array that the kernel is of: "
            "lambda params, x: model.apply(params, x)[0]."
        )
    if not outputs.shape or outputs.shape[0] != samples:
        among = f" for {samples} samples" if samples != PROBE else ""
        came = tuple("n" if extent == PROBE else extent for extent in outputs.shape)
        raise UserError(
            f"Expected outputs with the samples on their first axis, got shape {came}{among}."
        )
    return tuple(outputs.shape[1:])


def _check_parameter(
    path: str,
    name: str,
    leaf: Array,
    parameters: dict[str, dict[str, tuple[int, ...]]],
    uses: dict[str, int],
    is_outside: bool,
) -> None:
    """Refuse a parameter whose share of the kernel a rule would miss, or miss a part of."""
    owner = path or "the top-level module"
    if path not in parameters or path not in uses:
        raise UnsupportedModel(
            f"ntk.implementation=structured has no rule for parameter {name!r} of {owner}. Move it "
            "into a layer that has one, or give the layer a rule: "
            "vintk_jax.ntk.rules.register(YourLayer, vintk_jax.ntk.rules.per_sample); or "
            f"{OTHERWISE}"
        )
    if is_outside:
        raise UnsupportedModel(
            f"Parameter {name!r} of {owner} is also read outside the module's own call (weight "
            "tying?): its share of the kernel has cross terms that a rule per call misses. Set "
            "ntk.implementation=neural_tangents, or wrap the uses in one module and register a "
            "rule for it."
        )
    copies = leaf.size // math.prod(parameters[path][name])
    if uses[path] > copies:
        raise UnsupportedModel(
            f"The parameters of {owner} are used {uses[path]} times in one pass, but exist "
            f"{copies} time(s): its share of the kernel has cross terms that a rule per call "
            "misses. Wrap the uses in one module and register a rule for it "
            f"(vintk_jax.ntk.rules.per_sample joins them), or {OTHERWISE}"
        )
