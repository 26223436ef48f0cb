"""Layers with and without masks."""

import flax.linen as nn
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from scipy.stats import norm as gauss

from vintk_jax.models.layers import Dense, LayerNorm, Mlp, gelu, masked, spread, times_kernel


def test_gelu_is_x_phi_x_with_its_derivative():
    """Value from scipy's normal distribution; first derivative from the formula, first and second
    from finite differences.
    """
    x = np.linspace(-6, 6, 101)
    with jax.enable_x64(True):
        value = jax.jit(gelu)
        np.testing.assert_allclose(value(x), x * gauss.cdf(x), atol=1e-12)
        slope = jax.jit(jax.vmap(jax.grad(gelu)))
        np.testing.assert_allclose(slope(x), gauss.cdf(x) + x * gauss.pdf(x), atol=1e-12)
        h = 1e-5
        np.testing.assert_allclose(
            slope(x), (np.asarray(value(x + h)) - value(x - h)) / (2 * h), atol=1e-8
        )
        curvature = jax.jit(jax.vmap(jax.grad(jax.grad(gelu))))(x)
        np.testing.assert_allclose(
            curvature, (np.asarray(slope(x + h)) - slope(x - h)) / (2 * h), atol=1e-8
        )

        def erf_form(x):
            return jnp.sum(x * 0.5 * (1 + jax.lax.erf(x / jnp.sqrt(2.0))))

        plain = jax.jit(jax.grad(erf_form))(x)
        np.testing.assert_allclose(slope(x), plain, atol=1e-12)


def test_gelu_keeps_the_type():
    """bfloat16 in, bfloat16 out, for the value and the gradient."""
    at = np.linspace(-3, 3, 7)

    @jax.jit
    @jax.value_and_grad
    def run(x):
        return gelu(x).sum()

    y, slope = run(jnp.asarray(at, jnp.bfloat16))
    assert y.dtype == slope.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.float32(slope), gauss.cdf(at) + at * gauss.pdf(at), atol=0.03)


@pytest.mark.parametrize("use_scale", [True, False])
@pytest.mark.parametrize("use_bias", [True, False])
def test_layernorm_is_flax_layernorm(use_scale, use_bias, variables_for):
    """The same parameters and outputs as flax.linen.LayerNorm, for inputs far from zero too."""
    ours, theirs = (
        kind(epsilon=1e-6, use_scale=use_scale, use_bias=use_bias)
        for kind in (LayerNorm, nn.LayerNorm)
    )
    x = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((3, 5, 7)) * 4 + 2))
    variables = variables_for(theirs, x)
    of_ours = jax.eval_shape(ours.init, jax.random.key(1), x)
    assert jax.tree.map(np.shape, of_ours) == jax.tree.map(np.shape, variables)
    got = jax.jit(ours.apply)(variables, x)
    np.testing.assert_allclose(got, jax.jit(theirs.apply)(variables, x), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "options"),
    [((4, 5, 6), {}), ((6,), {}), ((2, 3, 4, 6), {"use_bias": False})],
)
def test_dense_is_flaxs(shape, options):
    """The same parameters, outputs and gradients as flax.linen.Dense's, for any number of axes."""
    x = jax.random.normal(jax.random.key(0), shape)
    ours, flaxs = Dense(7, **options), nn.Dense(7, **options)
    variables = flaxs.init(jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, ours.init(jax.random.key(1), x)) == jax.tree.map(
        jnp.shape, variables
    )

    def gradients(model):
        return jax.grad(lambda v, x: jnp.sum(jnp.sin(model.apply(v, x))), (0, 1))(variables, x)

    np.testing.assert_allclose(ours.apply(variables, x), flaxs.apply(variables, x), rtol=1e-5)
    for one, other in zip(*map(jax.tree.leaves, map(gradients, (ours, flaxs))), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


_masked_norm = jax.jit(LayerNorm().apply)


@settings(max_examples=30)
@given(live=st.integers(1, 9), seed=st.integers(0, 99))
def test_masked_layernorm_is_the_narrow_one(live, seed):
    """Live columns hold the narrow layer's outputs, the dead ones zero, whatever the dead columns'
    parameters.
    """
    rng = np.random.default_rng(seed)
    x, scale, bias = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 9), (9,), (9,))
    )
    mask = (np.arange(9) < live).astype(np.float32)
    x = x * mask
    wide = np.asarray(_masked_norm({"params": {"scale": scale, "bias": bias}}, x, mask))
    cut = x[..., :live].astype(np.float64)
    narrow = (cut - cut.mean(-1, keepdims=True)) / np.sqrt(
        cut.var(-1, keepdims=True) + 1e-6
    ) * scale[:live] + bias[:live]
    # two equal numbers cancel
    np.testing.assert_allclose(wide[..., :live], narrow, atol=1e-3 if live == 2 else 1e-4)
    np.testing.assert_array_equal(wide[..., live:], 0)


def test_masked_mlp_is_the_narrow_one(variables_for):
    """An Mlp with dead columns and hidden units computes what the sliced one does."""
    x = np.random.default_rng(0).standard_normal((2, 3, 6)) * (np.arange(6) < 4)
    x = jnp.asarray(np.float32(x))
    variables = variables_for(Mlp(8), x)
    p = jax.tree.map(np.asarray, variables["params"])
    masks = (np.float32(np.arange(size) < live) for size, live in ((6, 4), (8, 5)))
    wide, x = map(np.asarray, (jax.jit(Mlp(8).apply)(variables, x, *masks), x))
    h = np.asarray(x[..., :4], np.float64) @ p["fc1"]["kernel"][:4, :5] + p["fc1"]["bias"][:5]
    wanted = h * gauss.cdf(h) @ p["fc2"]["kernel"][:5, :4] + p["fc2"]["bias"][:4]
    np.testing.assert_allclose(wide[..., :4], wanted, atol=1e-5)
    np.testing.assert_array_equal(wide[..., 4:], 0)


def test_masked_zeroes_dead_columns():
    """x itself without a mask; x with zeros, in x's type, with one."""
    x = jnp.asarray(np.full((2, 3), 2), jnp.bfloat16)
    assert masked(x, None) is x
    y = jax.jit(masked)(x, np.float32([1, 0, 1]))
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(np.float32(y), [[2, 0, 2]] * 2)


@pytest.mark.parametrize(("a", "b"), [(8, 3), (3, 8), (5, 5)])
def test_a_linear_layers_derivatives(a, b):
    """x W + c: forwards and backwards, whichever of W's sides is longer, against NumPy."""
    rng = np.random.default_rng(0)
    x, kernel, bias, d = (rng.standard_normal(s) for s in ((7, a), (a, b), (b,), (7, b)))
    moves = [rng.standard_normal(part.shape) for part in (x, kernel, bias)]

    def function(x, kernel, bias):
        y = times_kernel(x, kernel)
        return y + spread(bias, y)

    arguments = [jnp.float32(part) for part in (x, kernel, bias)]
    y, backward = jax.vjp(function, *arguments)
    np.testing.assert_allclose(y, x @ kernel + bias, atol=1e-5)
    wanted = (d @ kernel.T, x.T @ d, d.sum(0))
    for got, right in zip(backward(jnp.float32(d)), wanted, strict=True):
        np.testing.assert_allclose(got, right, atol=1e-5)
    _, moved = jax.jvp(function, arguments, [jnp.float32(part) for part in moves])
    np.testing.assert_allclose(moved, moves[0] @ kernel + x @ moves[1] + moves[2], atol=1e-5)


def test_a_layer_whose_kernel_is_kept():
    """Its input's gradient alone: no product for a kernel that doesn't move."""
    x = jnp.ones((2, 8))
    kernel = jnp.ones((8, 3))

    def of_input(times):
        return jax.jit(jax.grad(lambda x: jnp.sum(times(x, kernel) ** 2)))

    ours, plain = of_input(times_kernel), of_input(jnp.matmul)
    np.testing.assert_array_equal(ours(x), plain(x))
    counts = [one.lower(x).as_text().count("dot_general") for one in (ours, plain)]
    assert counts[0] == counts[1] == 2
