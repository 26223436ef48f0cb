"""The kernel refuses what it would get wrong, or is right."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import ntk
from vintk_jax.errors import UserError
from vintk_jax.ntk import definition
from vintk_jax.spaces import promises

MODEL = nn.Dense(3)
X = jnp.asarray(np.random.default_rng(0).standard_normal((4, 5)), jnp.float32)
PARAMS = promises.draw(MODEL, X)


@pytest.mark.parametrize("call", [ntk.kernel, ntk.by_layer])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 0), (), (2, 1), (3, 1, 1)])
def test_directions_of_other_shapes(call, shape):
    """Are not stretched to fit."""
    with pytest.raises(UserError, match=r"Expected directions of shape \(3, count\), got"):
        call(MODEL, PARAMS, X, cotangent=jnp.ones(shape))


def test_no_directions():
    """Their mean would be NaN."""
    with pytest.raises(UserError, match="num_directions of 1 at least, got 0"):
        ntk.kernel(MODEL, PARAMS, X, cotangent="random", key=jax.random.key(0), num_directions=0)


@pytest.mark.parametrize("implementation", ["structured", "neural_tangents"])
@pytest.mark.parametrize(
    ("apply", "words"),
    [
        (lambda params, x: (MODEL.apply(params, x), x), "output is one array, got a tuple"),
        (lambda params, x: {"logits": MODEL.apply(params, x)}, "one array, got a dict"),
        (
            lambda params, x: MODEL.apply(params, x).T,
            r"samples on their first axis, got shape \(3, ",
        ),
        (lambda params, x: MODEL.apply(params, x).sum(), r"first axis, got shape \(\)"),
    ],
)
def test_outputs_that_are_no_array_by_sample(implementation, apply, words):
    """Say what to give instead."""
    with pytest.raises(UserError, match=words):
        ntk.kernel(apply, PARAMS, X, implementation=implementation)


@pytest.mark.parametrize("chunk", [0, -2])
def test_chunks_of_nothing(chunk):
    """None is for all."""
    with pytest.raises(UserError, match="chunk of 1 sample at least, or None"):
        ntk.kernel(MODEL, PARAMS, X, chunk=chunk)


class Text(nn.Module):
    """Tokens to classes."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(7, 4, name="embed")(tokens)
        return nn.Dense(3, name="head")(x.mean(axis=1))


def test_integer_inputs():
    """Tokens stay integers; the kernel is the Jacobian's."""
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 7, (4, 6)))
    params = promises.draw(Text(), tokens)

    def summed(params, tokens):
        return Text().apply(params, tokens.astype(int)).sum(axis=1)

    jacobian = definition.jacobian(summed, params, tokens)
    wanted = definition.kernel(jacobian, np.ones((1, 1)))
    found = ntk.kernel(Text(), params, tokens)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
