"""A trained ViT that has fewer tokens block by block. Its most similar ones are joined (ToMe, Bolya
et al. 2022, arXiv 2210.09461), or those that receive the least attention fused into one (as EViT,
Liang et al. 2022, arXiv 2202.07800).

What adaptive inference is compared with: every image loses the same number of tokens in every
block, whatever it shows. Takes the variables of an ordinary `ViT` as they are.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.models.attend import exponentials
from vintk_jax.models.conv_stem import STRIDE, ConvStem
from vintk_jax.models.layers import Dense, LayerNorm, Mlp
from vintk_jax.models.patch_embed import (
    ClassToken,
    PatchEmbed,
    PositionEmbed,
    fit_to_grid,
    grid_of,
)
from vintk_jax.models.vit import ViT


def merge(
    x: Float[Array, "n tokens embed"],
    size: Float[Array, "n tokens"],
    metric: Float[Array, "n tokens dim"],
    count: int,
) -> tuple[Float[Array, "n left embed"], Float[Array, "n left"]]:
    """Bipartite soft matching (section 3): join `count` tokens with the most similar one of the
    other half, weighed by size.

    Tokens are dealt to two halves in turn; the first one, the class token, is never joined to
    another, nor another to it.

    Args:
        size: patches that each token stands for.
        metric: what similarity is measured on (the keys); cosine.
        count: how many; at most half of the patch tokens.

    Returns:
        The tokens that are left, the class token first, and their sizes.
    """
    metric = metric / jnp.linalg.norm(metric, axis=-1, keepdims=True)
    scores = jnp.einsum("nad,nbd->nab", metric[:, ::2], metric[:, 1::2]).at[:, 0].set(-jnp.inf)
    nearest = jnp.argmax(scores, axis=-1)
    best = jnp.max(scores, axis=-1)
    order = jnp.argsort(-best, axis=-1)
    gone = order[:, :count]
    kept = jnp.sort(order[:, count:], axis=-1)
    onto = jax.nn.one_hot(
        jnp.take_along_axis(nearest, gone, axis=1), metric.shape[1] // 2, dtype=x.dtype
    )
    weighed = jnp.concatenate([x * size[..., None], size[..., None]], axis=-1)

    def take(which):
        return jnp.take_along_axis(weighed[:, ::2], which[..., None], axis=1)

    joined = jnp.concatenate(
        [take(kept), weighed[:, 1::2] + jnp.einsum("ngb,nge->nbe", onto, take(gone))], axis=1
    )
    return joined[..., :-1] / joined[..., -1:], joined[..., -1]


def fuse(
    x: Float[Array, "n tokens embed"],
    size: Float[Array, "n tokens"],
    received: Float[Array, "n tokens"],
    count: int,
) -> tuple[Float[Array, "n left embed"], Float[Array, "n left"]]:
    """Fuse the `count` + 1 patch tokens that receive the least attention into one, weighed by what
    they receive. EViT counts the class token's attention, this that of all tokens, so that models
    that read the mean of patches have it too (our choice).

    Args:
        size: patches that each token stands for.

    Returns:
        The tokens that are left, the class token first and the fused one last, and their sizes.
    """
    order = 1 + jnp.argsort(-received[:, 1:], axis=-1)
    kept = jnp.sort(order[:, : -count - 1], axis=-1)
    gone = order[:, -count - 1 :]

    def take(array, which):
        return jnp.take_along_axis(array, which.reshape(*which.shape, *(1,) * (array.ndim - 2)), 1)

    weight = take(received, gone)
    fused = jnp.einsum("ng,nge->ne", weight, take(x, gone)) / weight.sum(axis=1, keepdims=True)
    return (
        jnp.concatenate([x[:, :1], take(x, kept), fused[:, None]], axis=1),
        jnp.concatenate(
            [size[:, :1], take(size, kept), take(size, gone).sum(axis=1, keepdims=True)], axis=1
        ),
    )


class _Attention(nn.Module):
    """Self-attention that gives larger tokens their due (proportional attention, equation 1); also
    the keys, averaged over heads, and the attention that each token receives, over heads and
    queries.
    """

    num_heads: int
    head_dim: int

    @nn.compact
    def __call__(self, x, size):
        n, tokens, embed = x.shape
        qkv = Dense(3 * self.num_heads * self.head_dim, name="qkv")(x)
        q, k, v = qkv.reshape(n, tokens, 3, self.num_heads, self.head_dim).transpose(2, 0, 3, 1, 4)
        logits = (
            jnp.einsum("nhqd,nhkd->nhqk", q * self.head_dim**-0.5, k) + jnp.log(size)[:, None, None]
        )
        e, total = exponentials(logits)
        out = jnp.einsum("nhqk,nhkd->nhqd", e, v) / total
        out = Dense(embed, name="proj")(out.transpose(0, 2, 1, 3).reshape(n, tokens, -1))
        received = jnp.einsum("nhqk,nhq->nk", e, 1 / total[..., 0]) / (self.num_heads * tokens)
        return out, k.mean(axis=1), received


class _Block(nn.Module):
    num_heads: int
    head_dim: int
    hidden: int
    merged: int
    by_attention: bool

    @nn.compact
    def __call__(self, x, size):
        attention = _Attention(self.num_heads, self.head_dim, name="attention")
        y, keys, received = attention(LayerNorm(name="norm1")(x), size)
        x = x + y
        if self.merged and self.by_attention:
            x, size = fuse(x, size, received, self.merged)
        elif self.merged:
            x, size = merge(x, size, keys, self.merged)
        return x + Mlp(self.hidden, name="mlp")(LayerNorm(name="norm2")(x)), size


class TomeViT(nn.Module):
    """A `ViT` of one token length whose every block has up to `merged` tokens fewer, with the ViT's
    own parameters.

    Attributes:
        vit: what it is; without relative positions (tokens that were joined have no place), scan or
            norms per length.
        merged: tokens that each block removes, fewer where that would be more than half of them.
        by_attention: whether those that receive the least attention are fused (`fuse`), in place of
            the most similar ones joined (`merge`).
    """

    vit: ViT
    merged: int
    by_attention: bool = False

    @nn.compact
    def __call__(
        self, images: Float[Array, "n height width channels"]
    ) -> Float[Array, "n classes"]:
        """Logits.

        Raises:
            ValueError: for a ViT with relative positions, scanned blocks, norms per length, scaled
                residuals or a classifier of patches.
        """
        vit = self.vit
        if (
            vit.max_distance
            or vit.scan
            or vit.norm_grids
            or vit.residual_scale != 1
            or vit.aux_head
        ):
            raise ValueError(
                "Token merging takes a ViT without relative positions, scan, norm_grids (fold a "
                "ReViT first), scaled residuals or a classifier of patches."
            )
        side = vit.patch_size
        grid = None
        if vit.stem_width:
            images = ConvStem(vit.stem_width, sides=vit.stem_sides, name="stem")(images)
            side = side // STRIDE
            grid = vit.native_grid
            images = fit_to_grid(images, grid)
        grid = grid_of(images.shape[1:], side, grid)
        x = PatchEmbed(side, vit.embed_dim, name="patch_embed")(images, grid)
        x = ClassToken(name="class_token")(x)
        x = PositionEmbed(vit.native_grid, name="positions")(x, grid)
        size = jnp.ones(x.shape[:2])
        for i, (heads, hidden) in enumerate(zip(vit.num_heads, vit.hidden, strict=True)):
            merged = min(self.merged, (x.shape[1] - 1) // 2)
            block = _Block(
                heads, vit.head_dim, hidden, merged, self.by_attention, name=f"block_{i}"
            )
            x, size = block(x, size)
        x = LayerNorm(name="norm")(x)
        weights = size[:, 1:, None] / jnp.sum(size[:, 1:], axis=1)[:, None, None]
        x = x[:, 0] if vit.pool == "token" else jnp.sum(x[:, 1:] * weights, axis=1)
        return Dense(vit.num_classes, name="head")(x)
