"""Attention's shared parts against their definition in NumPy's float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from vintk_jax.models import attend

# keys, columns of the values: softmax first, and the division last; few tokens; one token
SIZES = [(9, 16), (17, 8), (40, 4), (6, 4), (1, 1)]


def drawn(keys, columns, queries=5):
    """Logits and values of 2 images and 3 heads, and a direction for the gradients."""
    rng = np.random.default_rng(0)
    logits = 5 * rng.standard_normal((2, 3, queries, keys))
    v = rng.standard_normal((2, 3, keys, columns))
    return logits, v, rng.standard_normal((2, 3, queries, columns))


@pytest.mark.parametrize(("keys", "columns"), SIZES)
def test_attended_is_softmax_times_values(keys, columns):
    """And so are its gradients: d (v' c - c . out) times the weights, and the weights' transpose
    times d.
    """
    logits, v, d = drawn(keys, columns)
    out, backward = jax.vjp(attend.attended, jnp.float32(logits), jnp.float32(v))
    of_logits, of_values = backward(jnp.float32(d))
    weights = softmax(logits, axis=-1)
    right = weights @ v
    np.testing.assert_allclose(out, right, atol=2e-6)
    inner = d @ np.swapaxes(v, -1, -2) - np.sum(d * right, axis=-1, keepdims=True)
    np.testing.assert_allclose(of_logits, weights * inner, atol=1e-5)
    np.testing.assert_allclose(of_values, np.swapaxes(weights, -1, -2) @ d, atol=1e-5)


@pytest.mark.parametrize(("keys", "columns"), SIZES[:2])
def test_large_logits_and_masked_keys(keys, columns):
    """Neither overflows, nor is a key of -inf attended to; gradients stay finite."""
    logits, v, d = drawn(keys, columns)
    logits = 1e4 * logits
    logits[..., 0] = -np.inf
    out, backward = jax.vjp(attend.attended, jnp.float32(logits), jnp.float32(v))
    np.testing.assert_allclose(out, softmax(np.float32(logits), axis=-1) @ v, atol=2e-6)
    assert all(np.isfinite(g).all() for g in backward(jnp.float32(d)))


@pytest.mark.parametrize(("keys", "columns"), SIZES[:2])
def test_narrow_types(keys, columns):
    """The values' type comes back; the exponentials are taken in float32."""
    logits, v, _ = drawn(keys, columns)
    narrow = [jnp.bfloat16(logits), jnp.bfloat16(v)]
    out = attend.attended(*narrow)
    assert out.dtype == jnp.bfloat16
    right = softmax(np.float64(narrow[0]), axis=-1) @ np.float64(narrow[1])
    np.testing.assert_allclose(np.float64(out), right, atol=0.03)


@pytest.mark.parametrize("keys", [1, 2, 16, 17, 33, 65, 100, 197])
def test_exponentials_of_rows_of_any_length(keys):
    """Their ratio is the softmax, and the largest is 1 wherever it is: halves miss no number."""
    logits = np.random.default_rng(0).standard_normal((keys, keys)) + 9 * np.eye(keys)
    e, total = attend.exponentials(jnp.float32(logits))
    assert np.max(e, axis=-1).tolist() == [1] * keys
    np.testing.assert_allclose(e / total, softmax(logits, axis=-1), rtol=1e-5)
