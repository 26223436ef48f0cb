"""Contractions: from a layer's inputs and output cotangents to its share of the kernel, in the
cheaper of two orders.

For a linear layer y = x W the per-sample gradient is the a x b matrix X_n' D_n (X: tokens x a
inputs, D: tokens x b cotangents), and the layer's share of the kernel is K_nm = <X_n' D_n, X_m'
D_m>. Two orders of summation give it, and we count both:

- gradients: form X_n' D_n for all n, multiply them pairwise: n t a b + n (n + 1) / 2 a b
  multiply-adds.
- tokens: sum over token pairs of (X X') o (D D'): n (n + 1) / 2 t^2 (a + b) multiply-adds.

A bias is one more input that is always 1. The kernel is symmetric. Over token pairs, strips on and
below its diagonal are computed; over gradients, the whole square in one product, which is faster
than strips of it. The order is chosen by what is so computed, not by the least that would do: 48
images of 17 tokens take half the time over token pairs, 192 columns to 576.
"""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Row blocks of the lower triangle. Measured on 2 cores at 272 token rows: 4 blocks take 0.6 of the
# time of the full square, 8 no less.
_BLOCKS = 4
_MIN_ROWS = 64


def gradients_macs(n: int, t: int, a: int, b: int) -> int:
    """Multiply-adds of the contraction over per-sample gradients."""
    return n * t * a * b + n * (n + 1) // 2 * a * b


def tokens_macs(n: int, t: int, a: int, b: int) -> int:
    """Multiply-adds of the contraction over token pairs."""
    return n * (n + 1) // 2 * t * t * (a + b)


def linear_macs(n: int, t: int, a: int, b: int) -> int:
    """Multiply-adds of the cheaper contraction of an a -> b linear layer on n samples of t
    tokens.
    """
    return min(gradients_macs(n, t, a, b), tokens_macs(n, t, a, b))


def _gradients_computed(n: int, t: int, a: int, b: int) -> int:
    """Multiply-adds of `_over_gradients`."""
    return n * t * a * b + n * n * a * b


def _tokens_computed(n: int, t: int, a: int, b: int) -> int:
    """Multiply-adds of `_over_tokens`."""
    strips = _strips(n, t)
    return (strips + 1) * (n * t) ** 2 * (a + b) // (2 * strips)


def _strips(n: int, rows_per_sample: int) -> int:
    """Into how many strips of rows a triangle is cut."""
    return max(1, min(_BLOCKS, n, n * rows_per_sample // _MIN_ROWS))


def _symmetric(
    n: int, rows_per_sample: int, block: Callable[[slice, slice], Float[Array, "rows columns"]]
) -> Float[Array, "n n"]:
    """A symmetric n x n matrix from `block(rows, columns)`, called only for blocks that reach the
    lower triangle.
    """
    edges = np.linspace(0, n, _strips(n, rows_per_sample) + 1).astype(int)
    strips = [
        jnp.pad(block(slice(i, j), slice(0, j)), ((0, 0), (0, n - j)))
        for i, j in itertools.pairwise(edges)
    ]
    lower = jnp.tril(jnp.concatenate(strips))
    return lower + jnp.tril(lower, -1).T


def gram(gradients: Sequence[Float[Array, "n ..."]]) -> Float[Array, "n n"]:
    """<g_n, g_m> summed over all the per-sample gradients given."""
    flat = jnp.concatenate([g.reshape(g.shape[0], -1) for g in gradients], axis=1)
    # XLA's CPU backend would compute the sums that lead here once more for each row and column of
    # the product.
    flat = jax.lax.optimization_barrier(flat)
    return flat @ flat.T


def linear_gram(
    x: Float[Array, "n tokens a"], d: Float[Array, "n tokens b"], *, bias: bool
) -> Float[Array, "n n"]:
    """The share of a linear layer: K_nm = <X_n' D_n, X_m' D_m>, and <1' D_n, 1' D_m> where it has a
    bias.
    """
    sizes = (*x.shape, d.shape[-1])
    if _tokens_computed(*sizes) < _gradients_computed(*sizes):
        return _over_tokens(x, d, bias)
    return _over_gradients(x, d, bias)


def depthwise_gram(
    x: Float[Array, "n height width inputs"],
    d: Float[Array, "n rows columns features"],
    *,
    sides: tuple[int, int],
    strides: tuple[int, int],
    dilation: tuple[int, int],
    bias: bool,
) -> Float[Array, "n n"]:
    """The share of a depth-wise convolution without padding: per-sample gradients, an offset in the
    kernel at a time.

    Slices of x, multiplied by d and summed up over places, are what a CPU is fast at: a convolution
    with a kernel for each sample takes a hundred times as long there.
    """
    rows = d.shape[1]
    columns = d.shape[2]
    inputs = x.shape[-1]
    by_input = d.reshape(*d.shape[:3], inputs, -1)

    def at(i, j):
        down = slice(i * dilation[0], i * dilation[0] + (rows - 1) * strides[0] + 1, strides[0])
        right = slice(j * dilation[1], j * dilation[1] + (columns - 1) * strides[1] + 1, strides[1])
        return jnp.sum(x[:, down, right, :, None] * by_input, axis=(1, 2))

    gradients = [at(i, j) for i in range(sides[0]) for j in range(sides[1])]
    return gram([*gradients, d.sum((1, 2))] if bias else gradients)


def _over_tokens(x, d, bias):
    n, t, _ = x.shape

    def block(rows, columns):
        def pairs(v):
            return v[rows].reshape(-1, v.shape[-1]) @ v[columns].reshape(-1, v.shape[-1]).T

        products = (pairs(x) + 1 if bias else pairs(x)) * pairs(d)
        # One axis after another: XLA's CPU backend sums over both at once more slowly.
        by_row = products.reshape(rows.stop - rows.start, t, columns.stop * t).sum(1)
        return by_row.reshape(rows.stop - rows.start, columns.stop, t).sum(2)

    return _symmetric(n, t, block)


def _over_gradients(x, d, bias):
    flat = jnp.einsum("nta,ntb->nab", x, d).reshape(x.shape[0], -1)
    share = flat @ flat.T
    return share + gram([d.sum(1)]) if bias else share
