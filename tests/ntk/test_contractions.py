"""Both orders of summation of a linear layer's share."""

from functools import partial

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings

from vintk_jax.ntk import contractions


def share(x, d, bias):
    """The definition, sample by sample: the Gram of the per-sample gradients of W (and of the
    bias), in float64.
    """
    x = np.asarray(x, np.float64)
    d = np.asarray(d, np.float64)
    gradients = [
        np.concatenate([(xn.T @ dn).ravel(), dn.sum(0) if bias else []])
        for xn, dn in zip(x, d, strict=True)
    ]
    return np.array([[g @ h for h in gradients] for g in gradients])


def draw(n, t, a, b, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape).astype(np.float32) for shape in ((n, t, a), (n, t, b)))


@jax.jit
def every_order(x, d):
    """Without and with a bias: over gradients, over tokens, and whichever `linear_gram` takes."""
    return [
        (
            contractions._over_gradients(x, d, bias),
            contractions._over_tokens(x, d, bias),
            contractions.linear_gram(x, d, bias=bias),
        )
        for bias in (False, True)
    ]


@settings(max_examples=8)
@given(
    n=st.integers(1, 7),
    t=st.integers(1, 6),
    a=st.integers(1, 5),
    b=st.integers(1, 5),
    seed=st.integers(0, 99),
)
@example(n=7, t=6, a=5, b=5, seed=1)
@example(n=1, t=1, a=1, b=1, seed=2)
@example(n=4, t=1, a=5, b=3, seed=3)
@example(n=3, t=6, a=1, b=2, seed=4)
def test_both_orders_equal_the_definition(n, t, a, b, seed):
    """Every order is the definition."""
    x, d = draw(n, t, a, b, seed)
    for bias, shares in zip((False, True), every_order(x, d), strict=True):
        wanted = share(x, d, bias)
        for got in shares:
            np.testing.assert_allclose(got, wanted, atol=1e-5 * (1 + np.abs(wanted).max()))


@pytest.mark.parametrize(("n", "t"), [(5, 13), (7, 31), (9, 64), (64, 1), (67, 2)])
def test_symmetric_blocks(n, t):
    """Enough rows for the triangle to be cut into blocks, for even and odd n: symmetric, and the
    definition.
    """
    assert n * t >= contractions._MIN_ROWS
    x, d = draw(n, t, 3, 2)
    got = np.asarray(jax.jit(partial(contractions._over_tokens, bias=True))(x, d))
    wanted = share(x, d, True)
    np.testing.assert_allclose(got, wanted, atol=1e-5 * np.abs(wanted).max())
    np.testing.assert_array_equal(got, got.T)


def test_symmetric_skips_the_upper_triangle():
    """Blocks asked for cover the lower triangle, and fewer entries than the whole square."""
    full = np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32)
    full = full + full.T
    asked = np.zeros((9, 9), int)

    def block(rows, columns):
        asked[rows, columns] += 1
        return jnp.asarray(full[rows, columns])

    run = jax.jit(partial(contractions._symmetric, 9, 100, block))
    np.testing.assert_array_equal(run(), full)
    assert (asked[np.tril_indices(9)] == 1).all()
    assert asked.sum() < 81


@given(n=st.integers(1, 64), t=st.integers(1, 300), a=st.integers(1, 1000), b=st.integers(1, 1000))
def test_linear_macs_is_the_cheaper_of_the_two(n, t, a, b):
    """Counts by the formulas of the docstring; the cheaper one is reported."""
    pairs = sum(range(1, n + 1))
    gradients = n * t * a * b + pairs * a * b
    tokens = pairs * t * t * (a + b)
    assert contractions.gradients_macs(n, t, a, b) == gradients
    assert contractions.tokens_macs(n, t, a, b) == tokens
    assert contractions.linear_macs(n, t, a, b) == min(gradients, tokens)


@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((4, 2, 50, 60), "_over_tokens"),
        ((4, 60, 5, 6), "_over_gradients"),
        ((48, 17, 192, 576), "_over_tokens"),
        ((48, 17, 64, 64), "_over_gradients"),
    ],
)
def test_linear_gram_takes_the_cheaper_order(monkeypatch, shape, order):
    """Few tokens of a wide layer go over tokens, many tokens of a narrow one over gradients."""
    taken = []
    for name in ("_over_tokens", "_over_gradients"):
        monkeypatch.setattr(
            contractions,
            name,
            lambda x, d, bias, name=name: taken.append(name) or jnp.zeros((len(x), len(x))),
        )
    contractions.linear_gram(*map(jnp.asarray, draw(*shape)), bias=True)
    assert taken == [order]


def test_gram_sums_over_all_gradients():
    """<g_n, g_m> over several arrays of any shape."""
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((4, *shape)).astype(np.float32) for shape in ((), (3,), (2, 5))]
    flat = np.concatenate([p.reshape(4, -1) for p in parts], 1).astype(np.float64)
    np.testing.assert_allclose(jax.jit(contractions.gram)(parts), flat @ flat.T, atol=1e-4)
