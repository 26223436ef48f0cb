"""Contractions: from a layer's inputs and output cotangents to its share of the kernel, by the cheaper of two ways.

For a linear layer y = x W the per-sample gradient is the a x b matrix X_n' D_n (X: tokens x a inputs, D: tokens x b cotangents), and the
layer's share of the kernel is K_nm = <X_n' D_n, X_m' D_m>. Two orders of summation give it:

- gradients: form X_n' D_n for all n, multiply them pairwise. n t a b + n (n + 1) / 2 a b multiply-adds.
- tokens: sum over token pairs of (X X') o (D D'). n (n + 1) / 2 t^2 (a + b) multiply-adds.

Both are symmetric in (n, m); only the lower block triangle is computed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def gradients_macs(n: int, t: int, a: int, b: int) -> int:
    """Multiply-adds of the contraction over per-sample gradients."""
    return n * t * a * b + n * (n + 1) // 2 * a * b


def tokens_macs(n: int, t: int, a: int, b: int) -> int:
    """Multiply-adds of the contraction over token pairs."""
    return n * (n + 1) // 2 * t * t * (a + b)


def linear_macs(n: int, t: int, a: int, b: int) -> int:
    """Multiply-adds of the cheaper contraction of an a -> b linear layer on n samples of t tokens."""
    return min(gradients_macs(n, t, a, b), tokens_macs(n, t, a, b))


def flat_gram(g: Float[Array, "n *features"]) -> Float[Array, "n n"]:
    """<g_n, g_m> over all features."""
    g = g.reshape(g.shape[0], -1)
    return g @ g.T


def linear_gram(x: Float[Array, "n tokens a"], d: Float[Array, "n tokens b"]) -> Float[Array, "n n"]:
    """The share of a linear layer's weight: K_nm = <X_n' D_n, X_m' D_m>."""
    n, t, a = x.shape
    b = d.shape[-1]
    if gradients_macs(n, t, a, b) <= tokens_macs(n, t, a, b):
        return flat_gram(jnp.einsum("nta,ntb->nab", x, d))
    xx = x.reshape(n * t, a)
    dd = d.reshape(n * t, b)
    p = (xx @ xx.T) * (dd @ dd.T)
    return p.reshape(n, t, n, t).sum((1, 3))
