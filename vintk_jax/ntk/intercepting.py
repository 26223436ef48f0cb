"""Rules around the layers of a model: its modules' calls are intercepted.

`rules` says how a layer adds its share to the kernel. A call that a rule can't stand for is refused
here; what a whole model has to be like is checked in `model_check`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import flax.linen as nn
import jax

from vintk_jax.errors import UserError
from vintk_jax.ntk import rules

OTHERWISE = "set ntk.implementation=neural_tangents."  # the end of a refusal
_TRACES = jax.make_user_context()


class UnsupportedModel(UserError):
    """The structured kernel would be wrong or has no rule for this model."""


def own_parameters(module: nn.Module) -> dict[str, jax.Array]:
    """The parameters that a module holds itself, by name, without those of its submodules."""
    params = module.variables.get("params", {})
    return {name: leaf for name, leaf in params.items() if not isinstance(leaf, Mapping)}


def _interceptor(act: Callable) -> Callable:
    """An interceptor that calls `act(rule, module, call, args, kwargs)` for each call of a module
    with parameters and a rule.
    """
    busy = []

    def intercept(call, args, kwargs, context):
        module = context.module
        method = context.method_name
        if busy or method == "setup" or module.is_initializing() or not own_parameters(module):
            return call(*args, **kwargs)
        rule = rules.rule_for(module)
        if rule is None:
            return call(*args, **kwargs)
        if method != "__call__":
            raise UnsupportedModel(
                f"{'/'.join(module.path)} is used by its method {method!r}, but the rule of a "
                f"{type(module).__name__} is for __call__ only. Use a module of its own for that, "
                f"or {OTHERWISE}"
            )
        if not args:
            raise UnsupportedModel(
                f"{'/'.join(module.path)} is called with its input by keyword "
                f"({', '.join(kwargs)}), but the rule of a {type(module).__name__} looks for it in "
                "the first place. Pass it by position, or " + OTHERWISE
            )
        busy.append(module)
        try:
            return act(rule, module, call, args, kwargs)
        finally:
            busy.pop()

    return intercept


@contextmanager
def intercepting(act: Callable) -> Iterator[None]:
    """In the body, `act(rule, module, call, args, kwargs)` stands for the calls of layers.

    `jax.jit` in the body traces anew: a trace that JAX has kept would be one without rules.
    """
    with _TRACES(object()), nn.intercept_methods(_interceptor(act)):
        yield
