"""What a trace of a model says of its layers: which there are, how often each runs, what is read
outside of them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import jaxprs_in_params
from jax.interpreters import partial_eval as pe
from jaxtyping import Array, Shaped

from vintk_jax.errors import UserError
from vintk_jax.ntk.intercepting import OTHERWISE, UnsupportedModel, intercepting, own_parameters

_MARK = "vintk_jax.ntk:"  # ahead of the names that mark layers' outputs in a trace
PROBE = 1009  # samples in a trace of the check: a size that no other axis has


@dataclasses.dataclass
class Trace:
    """A model's trace on `PROBE` samples, with its layers marked.

    Attributes:
        parameters: the shapes of each layer's own parameters in one call, by path and name.
        by_sample: as in `model_check.Structure`, for all layers.
        returned: the shapes that calls returned, by `_call`.
        jaxpr: of the model.
        outputs: their shape and type.
    """

    parameters: dict[str, dict[str, tuple[int, ...]]] = dataclasses.field(default_factory=dict)
    by_sample: dict[str, tuple[int | str, ...]] = dataclasses.field(default_factory=dict)
    returned: dict[str, Any] = dataclasses.field(default_factory=dict)
    jaxpr: Any = None
    outputs: Any = None


def traced(
    apply: Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    probe: jax.ShapeDtypeStruct,
) -> Trace:
    """The model's trace on the probe.

    Raises:
        UnsupportedModel: for a layer that its rule doesn't fit, or a model that wants the batch to
            have a certain size.
    """
    trace = Trace()

    def act(rule, module, call, args, kwargs):
        path = "/".join(module.path)
        _check_call(path, module, args, kwargs)
        shapes = {name: leaf.shape for name, leaf in own_parameters(module).items()}
        trace.parameters[path] = shapes
        further = [*enumerate(args[1:], start=1), *kwargs.items()]
        trace.by_sample[path] = tuple(place for place, argument in further if _by_sample(argument))

        def marked(y):
            return checkpoint_name(y, f"{_MARK}{y.size}:{path}")

        outputs = jax.tree.map(marked, call(*args, **kwargs))
        trace.returned[_call(module, args, kwargs)] = _shapes(outputs)
        return outputs

    def run(params, inputs):
        with intercepting(act):
            return apply(params, inputs)

    try:
        closed, trace.outputs = jax.make_jaxpr(run, return_shape=True)(params, probe)
    except UserError:
        raise
    except Exception as error:
        jax.eval_shape(apply, params, inputs)  # a model that runs at all has trouble with the probe
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnsupportedModel(
            f"The model can't be run on another number of samples than {inputs.shape[0]} (tried: "
            f"{PROBE}): {words}. Something in it has the size of the batch. Set "
            "ntk.implementation=neural_tangents."
        ) from error
    trace.jaxpr = closed.jaxpr
    return trace


def _check_call(path: str, module: nn.Module, args: tuple, kwargs: dict) -> None:
    """Refuse a call of a layer without the samples in front, or with foreign parameters."""
    arrays = [x for x in (*args, *kwargs.values()) if isinstance(x, jax.Array)]
    if not arrays or arrays[0].shape[:1] != (PROBE,):
        raise UnsupportedModel(
            f"{path or 'The top-level module'} has something other than the samples on its first "
            "argument's first axis, where the rule of its type looks for them. Move the samples "
            f"there (fold other axes behind them), or {OTHERWISE}"
        )
    if not all(isinstance(leaf, jax.core.Tracer) for leaf in own_parameters(module).values()):
        raise UnsupportedModel(
            f"The parameters of {path or 'a module'} ({type(module).__name__}) are not those that "
            "were given: the function has them from elsewhere (closed over?), so the kernel has no "
            f"share of theirs. Give them in `params`, or {OTHERWISE}"
        )


def _by_sample(argument: Any) -> bool:
    """Whether an argument's arrays have the probe's samples on their first axis.

    Raises:
        UnsupportedModel: if some have and some haven't.
    """
    arrays = [leaf for leaf in jax.tree.leaves(argument) if isinstance(leaf, jax.Array)]
    have = [leaf.shape[:1] == (PROBE,) for leaf in arrays]
    if any(have) and not all(have):
        raise UnsupportedModel(
            "A layer is called with an argument of several arrays, of which some have the samples "
            f"on their first axis and some haven't. Pass them apart, or {OTHERWISE}"
        )
    return any(have)


def _shapes(tree: Any) -> Any:
    def shape(leaf):
        if isinstance(leaf, jax.Array):
            return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        return leaf

    return jax.tree.map(shape, tree)


def _call(module: nn.Module, args: tuple, kwargs: dict) -> str:
    """What the shapes that a call returns depend on."""
    return f"{'/'.join(module.path)} {_shapes((args, kwargs))}"


def count_uses(jaxpr: Any) -> dict[str, int]:
    """How often each marked layer runs in one evaluation of a jaxpr.

    Each lane of a `vmap` counts; of the branches of a `cond` the busiest counts.
    """
    uses: dict[str, int] = {}
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "name" and eqn.params["name"].startswith(_MARK):
            size, path = eqn.params["name"].removeprefix(_MARK).split(":", 1)
            lanes = eqn.outvars[0].aval.size // max(int(size), 1)
            uses[path] = uses.get(path, 0) + lanes
        elif eqn.primitive.name == "cond":
            branches = [count_uses(branch.jaxpr) for branch in eqn.params["branches"]]
            for path in set().union(*branches):
                uses[path] = uses.get(path, 0) + max(branch.get(path, 0) for branch in branches)
        else:
            # A `while` may run any number of times: twice is more than once.
            repeats = {"scan": eqn.params.get("length"), "while": 2}.get(eqn.primitive.name, 1)
            for inner in jaxprs_in_params(eqn.params):
                for path, times in count_uses(inner).items():
                    uses[path] = uses.get(path, 0) + repeats * times
    return uses


def read_outside(
    apply: Callable, params: dict, inputs: jax.ShapeDtypeStruct, returned: dict[str, Any]
) -> list[bool]:
    """For each parameter, whether the outputs depend on it other than through the calls of modules
    with rules.

    `returned` has the shapes that calls returned in another trace, by `_call`; a call that it lacks
    is traced.
    """

    def act(rule, module, call, args, kwargs):
        def run_layer():
            return call(*args, **kwargs)

        shapes = returned.get(_call(module, args, kwargs)) or jax.eval_shape(run_layer)
        # What stands in for the layer depends on its arguments, as the layer does, but not on its
        # parameters: a parameter that is read ahead of a layer is read outside its own.
        arrays = [leaf for leaf in jax.tree.leaves((args, kwargs)) if isinstance(leaf, jax.Array)]
        summed = sum((jnp.sum(leaf).astype(jnp.float32) for leaf in arrays), jnp.float32(0))

        def stand_in(y):
            return jnp.zeros(y.shape, y.dtype) + summed.astype(y.dtype)

        return jax.tree.map(stand_in, shapes)

    def run(params, inputs):
        with intercepting(act):
            return apply(params, inputs)

    closed = jax.make_jaxpr(run)(params, inputs)
    _, used = pe.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
    names = [path[0].key for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    return [is_used for name, is_used in zip(names, used, strict=False) if name == "params"]
