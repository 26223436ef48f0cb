"""neural-tangents as the independent reference, and what it takes to import it on a current JAX.

neural-tangents 0.6.5 was last released for jax <= 0.5 and imports names that have moved since. They
are put back while it imports and taken away afterwards. Its Jacobian contraction and NTK-vector
products then give what they always did; its structured derivatives read JAX's internals in ways
that no longer hold, and are left out.
"""

import contextlib
import sys
import types
from collections.abc import Callable
from functools import lru_cache

from jaxtyping import Array, Float

from vintk_jax.extras import missing

_CORE_NAMES = ("ClosedJaxpr", "Jaxpr", "JaxprEqn", "Literal", "Primitive", "Var")
_MISSING = object()


@contextlib.contextmanager
def _patched(target, name, value):
    before = getattr(target, name, _MISSING)
    setattr(target, name, value)
    try:
        yield
    finally:
        delattr(target, name) if before is _MISSING else setattr(target, name, before)


@lru_cache(maxsize=1)
def neural_tangents() -> types.ModuleType:
    """The neural_tangents package, imported under names that it expects; JAX is left as it was
    found.

    Raises:
        UserError: when it isn't installed, with the line that installs it.
    """
    import jax.core
    import jax.extend.core
    import jax.interpreters.ad
    from jax._src import ad_util, core, util

    modules = {
        "jax.util": types.ModuleType("jax.util"),
        "neural_tangents.experimental": types.ModuleType("neural_tangents.experimental"),
    }
    vars(modules["jax.util"]).update(
        {k: v for k, v in vars(util).items() if not k.startswith("__")}
    )
    before = {name: sys.modules.get(name) for name in modules}
    with contextlib.ExitStack() as stack:
        for name in _CORE_NAMES:
            stack.enter_context(_patched(jax.core, name, getattr(core, name)))
        stack.enter_context(_patched(jax, "util", modules["jax.util"]))
        if not hasattr(jax.interpreters.ad, "zeros_like_p"):
            stack.enter_context(
                _patched(
                    jax.interpreters.ad, "zeros_like_p", getattr(ad_util, "zeros_like_p", None)
                )
            )
        # the real `experimental` pulls in TensorFlow, which takes seconds
        sys.modules.update(modules)
        try:
            import neural_tangents as nt
        except ModuleNotFoundError as error:
            raise missing("ntk.implementation=neural_tangents", error, "reference") from error
        finally:
            for name, module in before.items():
                if module is None:
                    sys.modules.pop(name, None)
                else:
                    sys.modules[name] = module
    return nt


def kernel(
    apply: Callable,
    params: dict,
    inputs: Float[Array, "n ..."],
    directions: Float[Array, "*outputs count"],
    implementation: str,
) -> Float[Array, "n n"]:
    """The NTK averaged over directions, by neural-tangents; see `vintk_jax.ntk.kernel`."""
    nt = neural_tangents()
    choice = (
        nt.NtkImplementation.NTK_VECTOR_PRODUCTS
        if implementation.endswith("ntvp")
        else nt.NtkImplementation.JACOBIAN_CONTRACTION
    )
    vectors = directions.reshape(-1, directions.shape[-1])

    def along(params, x):
        return apply(params, x).reshape(x.shape[0], -1) @ vectors

    return nt.empirical_ntk_fn(along, trace_axes=(-1,), vmap_axes=0, implementation=choice)(
        inputs, None, params
    )
