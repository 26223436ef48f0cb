"""What the forms of self-attention share: queries with keys, softmax, and the values mixed by it.

Where a CPU has more keys than columns of values, the softmax's sum is divided by last: exp(l) v /
sum exp(l), as in FlashAttention (Dao et al. 2022, arXiv 2205.14135, section 3.1). The backward pass
then takes one sweep over queries x keys where softmax's own takes three: on one core, 197 tokens
and heads of 64 columns take 0.84 of the time, 65 tokens 1.0, 17 would take 1.1.
"""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

# With so many tokens or fewer, products are written out as sums: on a CPU a matrix product for each
# image and head costs more in calls than in arithmetic (5 tokens, 64 images, 4 heads: 83 us instead
# of 295; 17 tokens: no gain).
FEW = 8
_LANES = 16  # float32 numbers that a CPU compares at once


def _few(tokens: int) -> bool:
    return 1 < tokens <= FEW


def products(
    q: Float[Array, "*batch queries dim"], k: Float[Array, "*batch keys dim"]
) -> Float[Array, "*batch queries keys"]:
    """The inner product of each query with each key."""
    if _few(k.shape[-2]):
        return jnp.sum(q[..., :, None, :] * k[..., None, :, :], axis=-1)
    return jnp.einsum("...qd,...kd->...qk", q, k)


def _mixed(
    weights: Float[Array, "*batch queries keys"], v: Float[Array, "*batch keys dim"]
) -> Float[Array, "*batch queries dim"]:
    """The values, weighted and summed over keys."""
    if _few(v.shape[-2]):
        return jnp.sum(weights[..., None] * v[..., None, :, :], axis=-2)
    return jnp.einsum("...qk,...kd->...qd", weights, v)


def _largest(x: Float[Array, "*batch keys"]) -> Float[Array, "*batch 1"]:
    """The largest of each row: halves, which may overlap, are compared until few are left.

    XLA's CPU backend compares the numbers of one row after another, which takes longer than their
    exponentials.
    """
    while x.shape[-1] > _LANES:
        half = -(-x.shape[-1] // 2)
        x = jnp.maximum(x[..., :half], x[..., -half:])
    return jnp.max(x, axis=-1, keepdims=True)


def exponentials(
    logits: Float[Array, "*batch queries keys"],
) -> tuple[Float[Array, "*batch queries keys"], Float[Array, "*batch queries 1"]]:
    """exp(logit - the row's largest) and the sum of each row, in float32 or wider: their ratio is
    the softmax.

    A row of -inf alone gives NaN, as with softmax.
    """
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    e = jnp.exp(wide - jax.lax.stop_gradient(_largest(wide)))
    return e, jnp.sum(e, axis=-1, keepdims=True)


def attended(
    logits: Float[Array, "*batch queries keys"], v: Float[Array, "*batch keys dim"]
) -> Float[Array, "*batch queries dim"]:
    """The values, weighted by the softmax of the logits over keys and summed over keys."""
    if logits.shape[-1] <= v.shape[-1] or jax.default_backend() != "cpu":
        wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        weights = checkpoint_name(jax.nn.softmax(wide).astype(v.dtype), "attention")
        return checkpoint_name(_mixed(weights, v), "context")
    e, total = exponentials(logits)
    e = checkpoint_name(e.astype(v.dtype), "attention")
    total = checkpoint_name(total, "attention")
    context = checkpoint_name(_mixed(e, v), "context")
    return context / total.astype(v.dtype)
