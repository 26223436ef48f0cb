"""The empirical NTK of any Linen model from one forward and one backward pass per cotangent: no
per-sample Jacobian.

`rules` says how a layer adds its share. Here the rules are put around a model by intercepting its
methods, and a model that they would get wrong is refused: parameters outside any rule, and
parameters that are read more than once outside their rule (a Dense called twice, a block shared
over depth), whose cross terms a sum of shares would silently miss.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import unflatten_dict
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import jaxprs_in_params
from jax.interpreters import partial_eval as pe
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from vintk_jax.errors import UserError
from vintk_jax.models.blocks import TAPS
from vintk_jax.ntk import rules
from vintk_jax.ntk.measures import KERNEL, Measure, Tap

_TAP = "tap"  # the variable's name within the collection
_MARK = "vintk_jax.ntk:"
_TRACES = jax.make_user_context()
_PROBE = 1009  # samples in a trace of the check: a size that no other axis has


class UnsupportedModel(UserError):
    """The structured kernel would be wrong or has no rule for this model."""


def _own_parameters(module: nn.Module) -> dict[str, jax.Array]:
    """The parameters that a module holds itself, by name, without those of its submodules."""
    return {
        k: v for k, v in module.variables.get("params", {}).items() if not isinstance(v, Mapping)
    }


def _shapes(tree: Any) -> Any:
    return jax.tree.map(
        lambda leaf: (
            jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, jax.Array) else leaf
        ),
        tree,
    )


def _call(module: nn.Module, args: tuple, kwargs: dict) -> str:
    """What the shapes that a call returns depend on."""
    return f"{'/'.join(module.path)} {_shapes((args, kwargs))}"


def _interceptor(act: Callable) -> Callable:
    """An interceptor that calls `act(rule, module, call, args, kwargs)` for each call of a module
    with parameters and a rule.
    """
    busy = []

    def intercept(call, args, kwargs, context):
        module = context.module
        method = context.method_name
        if busy or method == "setup" or module.is_initializing() or not _own_parameters(module):
            return call(*args, **kwargs)
        rule = rules.rule_for(module)
        if rule is None:
            return call(*args, **kwargs)
        if method != "__call__":
            raise UnsupportedModel(
                f"{'/'.join(module.path)} is used by its method {method!r}, but the rule of a "
                f"{type(module).__name__} is for __call__ only. Use a module of its own for that, "
                "or set ntk.implementation=neural_tangents."
            )
        if not args:
            raise UnsupportedModel(
                f"{'/'.join(module.path)} is called with its input by keyword "
                f"({', '.join(kwargs)}), but the rule of a "
                f"{type(module).__name__} looks for it in the first place. Pass it by position, or "
                "set ntk.implementation=neural_tangents."
            )
        busy.append(module)
        try:
            return act(rule, module, call, args, kwargs)
        finally:
            busy.pop()

    return intercept


@contextmanager
def _intercepting(act: Callable) -> Iterator[None]:
    """Rules around all modules that are called in the body; `jax.jit` in it traces anew, instead of
    taking what it has kept from a trace without them.
    """
    with _TRACES(object()), nn.intercept_methods(_interceptor(act)):
        yield


def _uses(jaxpr, times: int = 1, into: dict[str, int] | None = None) -> dict[str, int]:
    """How often each marked module runs in one evaluation of a jaxpr, each lane of a vmap counted;
    of the branches of a `cond` the busiest counts.
    """
    into = {} if into is None else into
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "name" and eqn.params["name"].startswith(_MARK):
            size, path = eqn.params["name"].removeprefix(_MARK).split(":", 1)
            lanes = eqn.outvars[0].aval.size // max(int(size), 1)
            into[path] = into.get(path, 0) + times * lanes
        elif eqn.primitive.name == "cond":
            branches = [_uses(branch.jaxpr, times) for branch in eqn.params["branches"]]
            for path in set().union(*branches):
                into[path] = into.get(path, 0) + max(branch.get(path, 0) for branch in branches)
        else:
            repeats = (
                eqn.params["length"]
                if eqn.primitive.name == "scan"
                else 2
                if eqn.primitive.name == "while"
                else 1
            )
            for inner in jaxprs_in_params(eqn.params):
                _uses(inner, times * repeats, into)
    return into


def _read_outside(
    apply: Callable, params: dict, inputs: jax.ShapeDtypeStruct, given: dict[str, Any]
) -> list[bool]:
    """For each parameter, whether the outputs depend on it other than through the calls of modules
    with rules.

    `given` has the shapes that calls returned in another trace, by `_call`; a call that it lacks is
    traced.
    """

    def act(rule, module, call, args, kwargs):
        shapes = given.get(_call(module, args, kwargs)) or jax.eval_shape(
            lambda: call(*args, **kwargs)
        )
        # What stands in for the layer depends on its arguments, as the layer does, but not on its
        # parameters: a parameter that is read ahead of a layer is read outside its own.
        arrays = [leaf for leaf in jax.tree.leaves((args, kwargs)) if isinstance(leaf, jax.Array)]
        fed = sum((jnp.sum(leaf).astype(jnp.float32) for leaf in arrays), jnp.float32(0))
        return jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype) + fed.astype(y.dtype), shapes)

    def run(params, inputs):
        with _intercepting(act):
            return apply(params, inputs)

    closed = jax.make_jaxpr(run)(params, inputs)
    _, used = pe.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    names = [path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    return [use for name, use in zip(names, used, strict=False) if name == "params"]


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


def _by_sample(argument: Any) -> bool:
    """Whether an argument's arrays have the probe's samples on their first axis.

    Raises:
        UnsupportedModel: if some have and some haven't.
    """
    arrays = [leaf for leaf in jax.tree.leaves(argument) if isinstance(leaf, jax.Array)]
    have = [leaf.shape[:1] == (_PROBE,) for leaf in arrays]
    if any(have) and not all(have):
        raise UnsupportedModel(
            "A layer is called with an argument of several arrays, of which some have the samples "
            "on their first axis and some haven't. Pass them apart, or set "
            "ntk.implementation=neural_tangents."
        )
    return any(have)


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
        among = f" for {samples} samples" if samples != _PROBE else ""
        came = tuple("n" if extent == _PROBE else extent for extent in outputs.shape)
        raise UserError(
            f"Expected outputs with the samples on their first axis, got shape {came}{among}."
        )
    return tuple(outputs.shape[1:])


def check(apply: Callable, params: dict, inputs: Shaped[Array, "n ..."]) -> Structure:
    """Refuse a model that the structured kernel would get wrong. Traces the model once, and once
    without its layers; computes nothing.

    Raises:
        UnsupportedModel: naming the module that has parameters and no rule, or whose parameters are
            used more often than its rule joins.
    """
    if not isinstance(params, Mapping) or "params" not in params:
        came = ", ".join(map(str, params)) if isinstance(params, Mapping) else type(params).__name__
        raise UnsupportedModel(
            f'Expected variables as model.init gives them, {{"params": ...}}, got {came}. For a '
            "function of parameters in another form set ntk.implementation=neural_tangents."
        )
    inside: dict[str, dict[str, tuple[int, ...]]] = {}
    layers: dict[str, tuple[int, ...]] = {}
    by_sample: dict[str, tuple[int | str, ...]] = {}
    given: dict[str, Any] = {}
    # Traced on an unlikely number of samples, so that a layer whose first axis is another one can
    # be told by its size.
    probe = jax.ShapeDtypeStruct((_PROBE, *inputs.shape[1:]), inputs.dtype)

    def act(rule, module, call, args, kwargs):
        path = "/".join(module.path)
        leading = [x for x in (*args, *kwargs.values()) if isinstance(x, jax.Array)][:1]
        if not leading or leading[0].shape[:1] != (_PROBE,):
            raise UnsupportedModel(
                f"{path or 'The top-level module'} has something other than the samples on its "
                "first argument's first axis, where the rule "
                "of its type looks for them. Move the samples there (fold other axes behind them), "
                "or set "
                "ntk.implementation=neural_tangents."
            )
        own = _own_parameters(module)
        if not all(isinstance(leaf, jax.core.Tracer) for leaf in own.values()):
            raise UnsupportedModel(
                f"The parameters of {path or 'a module'} ({type(module).__name__}) are not those "
                "that were given: the function has them from elsewhere (closed over?), so the "
                "kernel has no share of theirs. Give them in `params`, or set "
                "ntk.implementation=neural_tangents."
            )
        inside[path] = {name: leaf.shape for name, leaf in own.items()}
        further = [*enumerate(args[1:], start=1), *kwargs.items()]
        by_sample[path] = tuple(place for place, argument in further if _by_sample(argument))

        def marked(y):
            return checkpoint_name(y, f"{_MARK}{y.size}:{path}")

        named = jax.tree.map(marked, call(*args, **kwargs))
        given[_call(module, args, kwargs)] = _shapes(named)
        return named

    def run(params, inputs):
        with _intercepting(act):
            return apply(params, inputs)

    try:
        traced, outputs = jax.make_jaxpr(run, return_shape=True)(params, probe)
    except UserError:
        raise
    except Exception as error:
        jax.eval_shape(apply, params, inputs)  # a model that runs at all has trouble with the probe
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedModel(
            f"The model can't be run on another number of samples than {inputs.shape[0]} (tried: "
            f"{_PROBE}): {words}. Something in it has the size of the batch. Set "
            "ntk.implementation=neural_tangents."
        ) from error
    of_sample = output_shape(outputs, _PROBE)
    uses = _uses(traced.jaxpr)
    read_outside = _read_outside(apply, params, probe, given)
    for (key_path, leaf), outside in zip(
        jax.tree_util.tree_leaves_with_path(params["params"]), read_outside, strict=True
    ):
        *path, name = [str(k.key) for k in key_path]
        path = "/".join(path)
        owner = path or "the top-level module"
        if path not in inside or path not in uses:
            raise UnsupportedModel(
                f"ntk.implementation=structured has no rule for parameter {name!r} of {owner}. "
                "Move it into a layer that has one, or give "
                "the layer a rule: vintk_jax.ntk.rules.register(YourLayer, "
                "vintk_jax.ntk.rules.per_sample); or set "
                "ntk.implementation=neural_tangents."
            )
        if outside:
            raise UnsupportedModel(
                f"Parameter {name!r} of {owner} is also read outside the module's own call (weight "
                "tying?): its share of the kernel has cross "
                "terms that a rule per call misses. Set ntk.implementation=neural_tangents, or "
                "wrap the uses in one module and register a "
                "rule for it."
            )
        copies = leaf.size // math.prod(inside[path][name])
        layers[path] = leaf.shape[: leaf.ndim - len(inside[path][name])]
        if uses[path] > copies:
            raise UnsupportedModel(
                f"The parameters of {owner} are used {uses[path]} times in one pass, but exist "
                f"{copies} time(s): its share of the kernel has "
                "cross terms that a rule per call misses. Wrap the uses in one module and register "
                "a rule for it "
                "(vintk_jax.ntk.rules.per_sample joins them), or set "
                "ntk.implementation=neural_tangents."
            )
    return Structure(of_sample, layers, {path: more for path, more in by_sample.items() if more})


def _tapped(
    apply: Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    find: Callable,
    by_sample: Mapping[str, tuple[int | str, ...]],
) -> Float[Array, "n *outputs"]:
    """The outputs, each layer with a rule handing its measure to `find(module)`, a tap."""

    def act(rule, module, call, args, kwargs):
        further = by_sample.get("/".join(module.path), ())
        if rule is rules.per_sample and further:
            rule = partial(rules.per_sample, further=further)
        return rule(module, call, args, kwargs, find(module))

    with _intercepting(act):
        return apply(params, inputs)


def _along(
    backward: Callable, directions: Float[Array, "*outputs count"], y: Float[Array, "n *outputs"]
) -> Any:
    """What comes back from each direction, averaged over directions."""

    def along(direction):
        return backward(jnp.broadcast_to(direction, y.shape).astype(y.dtype))[0]

    if directions.shape[-1] == 1:
        return along(directions[..., 0])
    each = jax.lax.map(along, jnp.moveaxis(directions, -1, 0))
    return jax.tree.map(lambda values: values.mean(0), each)


def linearise(
    apply: Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    tap: Tap,
    by_sample: Mapping[str, tuple[int | str, ...]],
) -> tuple[Float[Array, "n *outputs"], Callable]:
    """The outputs, and the function from output cotangents to (the tap with the sum over layers
    under these cotangents,).
    """

    def outputs(tap):
        return _tapped(apply, params, inputs, lambda module: tap, by_sample)

    return jax.vjp(outputs, tap)


def kernel(
    apply: Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    directions: Float[Array, "*outputs count"],
    structure: Structure,
    dtype: DTypeLike,
) -> Float[Array, "n n"]:
    """The NTK averaged over directions; see `vintk_jax.ntk.kernel`."""
    tap = Tap.zeros(KERNEL, inputs.shape[0], dtype)
    y, backward = linearise(apply, params, inputs, tap, structure.by_sample)
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
    taps = {
        (*path.split("/"), _TAP) if path else (_TAP,): jnp.zeros(
            (*stacked, *measure.shape(n)), dtype
        )
        for path, stacked in structure.layers.items()
    }

    def find(module: nn.Module) -> Tap:
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
        return _tapped(apply, variables, inputs, find, structure.by_sample)

    y, backward = jax.vjp(outputs, taps)
    found = _along(backward, directions, y)
    return {"/".join(path[:-1]): values for path, values in found.items()}
