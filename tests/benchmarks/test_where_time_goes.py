"""Events are put to the operations of a program."""

import jax
import jax.numpy as jnp

from benchmarks.where_time_goes import by_kind, kinds


def test_kinds_of_a_small_program():
    """The product is a product, of the forward pass."""

    def work(x):
        with jax.named_scope("mine"):
            return jnp.sum(jnp.exp(x @ x))

    x = jnp.ones((64, 64))
    compiled = jax.jit(work).lower(x).compile()
    found = kinds(compiled.as_text())
    assert any(kind.startswith("product, forward: mine/") for kind in found.values())
    assert any(kind.startswith("other, forward") for kind in found.values())

    def run():
        return jax.block_until_ready(compiled(x))

    seconds = by_kind(run, compiled.as_text())
    assert set(seconds) <= set(found.values())
    assert any(kind.startswith("product") and value > 0 for kind, value in seconds.items())
