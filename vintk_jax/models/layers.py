"""Layers with optional masks: a mask switches columns off, so that one wide module stands in for
many narrow ones.

Every module takes `mask=None`; then it is the ordinary layer. A masked layer computes what the
narrow layer would, given inputs whose dead columns are zero, and leaves its own dead columns zero.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero
from jax.typing import DTypeLike
from jaxtyping import Array, Float

Mask = Float[Array, " features"]
# DeiT and AutoFormer: the same for every fan-in, so slices stay well-formed
linear_init = nn.initializers.truncated_normal(0.02)
# PyTorch's default: uniform with variance 1 / (3 fan_in)
conv_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def masked(
    x: Float[Array, "*batch features"], mask: Mask | None
) -> Float[Array, "*batch features"]:
    """x with its dead columns set to zero."""
    return x if mask is None else x * mask.astype(x.dtype)


def in_rows(x: Float[Array, "*batch features"]) -> Float[Array, "rows features"]:
    """x with one axis of rows in place of several, as images and tokens.

    On a CPU, XLA forms a sum over two axes of rows (the gradients of a kernel, a bias and a scale)
    from transposed copies, which it writes number by number.
    """
    return x.reshape(-1, x.shape[-1])


@jax.custom_jvp
def _narrowing(x: Float[Array, "rows a"], kernel: Float[Array, "a b"]) -> Float[Array, "rows b"]:
    return x @ kernel


@partial(_narrowing.defjvp, symbolic_zeros=True)
def _narrowing_jvp(primals, tangents):
    x, kernel = primals
    dx, dkernel = tangents
    y = x @ kernel
    moved = jnp.zeros_like(y)
    if not isinstance(dx, SymbolicZero):
        moved += dx @ kernel
    if not isinstance(dkernel, SymbolicZero):
        # The barrier keeps XLA from turning the product round again.
        moved += jnp.einsum("ra,ba->rb", x, jax.lax.optimization_barrier(dkernel.T))
    return y, moved


def times_kernel(x: Float[Array, "rows a"], kernel: Float[Array, "a b"]) -> Float[Array, "rows b"]:
    """x W. On a CPU the gradient of a W with more rows than columns is formed as (d' x)', not x' d.

    XLA's CPU backend takes up to twice as long for a product whose first factor is the wider one
    and is read by columns.
    """
    if kernel.shape[0] > kernel.shape[1] and jax.default_backend() == "cpu":
        return _narrowing(x, kernel)
    return x @ kernel


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _spread_on_cpu(vector, rows):
    return jnp.broadcast_to(vector, (rows, *vector.shape))


@_spread_on_cpu.defjvp
def _spread_jvp(rows, primals, tangents):
    ones = jnp.ones(rows, tangents[0].dtype)
    return _spread_on_cpu(*primals, rows), jnp.einsum("r,f->rf", ones, tangents[0])


def spread(
    vector: Float[Array, " features"], like: Float[Array, "rows features"]
) -> Float[Array, "rows features"]:
    """The same vector for every row of an array. On a CPU its gradient is formed as a product with
    ones.

    XLA's CPU backend turns a sum over rows into one over images and tokens, in windows, which takes
    ten times as long.
    """
    if jax.default_backend() == "cpu":
        return _spread_on_cpu(vector, like.shape[0])
    return jnp.broadcast_to(vector, like.shape)


class Dense(nn.Module):
    """A linear layer, as `flax.linen.Dense`, computed `in_rows`.

    Attributes:
        features: width of the output.
        use_bias: whether a bias is added.
        dtype: of the computation; None takes the input's.
        kernel_init: flax's own, unless given.
    """

    features: int
    use_bias: bool = True
    dtype: DTypeLike | None = None
    kernel_init: nn.initializers.Initializer = nn.linear.default_kernel_init

    @nn.compact
    def __call__(self, x: Float[Array, "*batch n"]) -> Float[Array, "*batch features"]:
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
        rows, kernel, bias = nn.dtypes.promote_dtype(in_rows(x), kernel, bias, dtype=self.dtype)
        y = times_kernel(rows, kernel)
        y = y if bias is None else y + spread(bias, y)
        return y.reshape(*x.shape[:-1], self.features)


class LayerNorm(nn.Module):
    """Layer normalisation whose mean and variance count only live columns.

    Attributes:
        epsilon: added to the variance (timm's ViTs: 1e-6).
        use_scale, use_bias: whether a learned scale and shift follow; named as in
            `flax.linen.LayerNorm`.
        variants: how many scales and shifts to choose from in a call (a ReViT has one for each
            token length); 0 for just one.
    """

    epsilon: float = 1e-6
    use_scale: bool = True
    use_bias: bool = True
    variants: int = 0

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch features"], mask: Mask | None = None, variant: int = 0
    ) -> Float[Array, "*batch features"]:
        wide = in_rows(x).astype(jnp.promote_types(x.dtype, jnp.float32))
        count = x.shape[-1] if mask is None else jnp.maximum(jnp.sum(mask), 1)
        mean = jnp.sum(wide, axis=-1, keepdims=True) / count
        centred = masked(wide - mean, mask)
        variance = jnp.sum(centred * centred, axis=-1, keepdims=True) / count
        y = centred * jax.lax.rsqrt(variance + self.epsilon)
        if self.use_scale:
            scale = self._learned("scale", nn.initializers.ones, x.shape[-1], variant)
            y = y * spread(scale, y)
        if self.use_bias:
            bias = self._learned("bias", nn.initializers.zeros, x.shape[-1], variant)
            y = y + spread(masked(bias, mask), y)
        return y.astype(x.dtype).reshape(x.shape)

    def _learned(self, name: str, init, features: int, variant: int) -> Array:
        if self.variants:
            return self.param(name, init, (self.variants, features))[variant]
        return self.param(name, init, (features,))


@jax.custom_jvp
def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x Phi(x), exactly, as timm's ViTs have it.

    Its derivative is formed in the forward pass, so that the backward pass keeps one array instead
    of JAX's three.
    """
    return x * 0.5 * (1 + jax.lax.erf(x * 0.5**0.5))


@gelu.defjvp
def _gelu_jvp(primals, tangents):
    (x,) = primals
    (t,) = tangents
    cdf = 0.5 * (1 + jax.lax.erf(x * 0.5**0.5))
    density = jnp.exp(-0.5 * x * x) * (2 * jnp.pi) ** -0.5
    return x * cdf, (cdf + x * density).astype(x.dtype) * t


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between them.

    Attributes:
        hidden: width in between.
        dtype: of the computation.
    """

    hidden: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n tokens embed"],
        embed_mask: Float[Array, " embed"] | None = None,
        hidden_mask: Float[Array, " hidden"] | None = None,
    ) -> Float[Array, "n tokens embed"]:
        h = Dense(self.hidden, kernel_init=linear_init, dtype=self.dtype, name="fc1")(x)
        h = checkpoint_name(h, "preactivation")
        h = masked(gelu(h), hidden_mask)
        return masked(
            Dense(x.shape[-1], kernel_init=linear_init, dtype=self.dtype, name="fc2")(h),
            embed_mask,
        )
