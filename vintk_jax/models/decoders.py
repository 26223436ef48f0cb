"""Decoders of semantic segmentation: from the tokens after each stage of a ViT to a score of every
class at every place.

Three kinds, one of which a search may choose: a linear map of each token; Segmenter's mask
transformer (Strudel et al. 2021, arXiv 2105.05633, section 3.2); convolutions on the stages' tokens
added up, in the manner of SETR's multi-level head (Zheng et al. 2021, arXiv 2012.15840, section
3.2; its sizes are our choice). None of them upsamples to pixels: `models.segmenter` does.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.blocks import Block
from vintk_jax.models.layers import Dense, LayerNorm, gelu, masked
from vintk_jax.models.patch_embed import ClassToken, Grid

Levels = Sequence[Float[Array, "n tokens embed"]]
Scores = Float[Array, "n rows columns classes"]


class LinearDecoder(nn.Module):
    """A norm and a linear layer on each token of the last stage."""

    num_classes: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, levels: Levels, grid: Grid, embed_mask: Float[Array, " embed"] | None = None
    ) -> Scores:
        x = LayerNorm(name="norm")(levels[-1], embed_mask)
        return Dense(self.num_classes, dtype=self.dtype, name="classify")(x).reshape(
            x.shape[0], *grid, self.num_classes
        )


class MaskDecoder(nn.Module):
    """A token for each class goes through blocks together with the patches'; a class's score at a
    patch is the cosine of the two, normed over classes.

    Attributes:
        depth, num_heads, head_dim, hidden: of its blocks.
    """

    num_classes: int
    depth: int
    num_heads: int
    head_dim: int
    hidden: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, levels: Levels, grid: Grid, embed_mask: Float[Array, " embed"] | None = None
    ) -> Scores:
        embed = levels[-1].shape[-1]
        x = Dense(embed, dtype=self.dtype, name="project")(
            LayerNorm(name="norm")(levels[-1], embed_mask)
        )
        x = masked(ClassToken(self.num_classes, name="classes")(x), embed_mask)
        for i in range(self.depth):
            x = Block(
                self.num_heads, self.head_dim, self.hidden, dtype=self.dtype, name=f"block_{i}"
            )(x, grid, embed_mask)
        x = LayerNorm(name="norm_out")(x, embed_mask)

        def linear(name):
            return Dense(embed, use_bias=False, dtype=self.dtype, name=name)

        classes = linear("project_classes")(x[:, : self.num_classes])
        patches = linear("project_patches")(x[:, self.num_classes :])

        def unit(v):
            return v * jax.lax.rsqrt(jnp.sum(v * v, axis=-1, keepdims=True) + 1e-12)

        scores = jnp.einsum(
            "nte,nke->ntk", unit(masked(patches, embed_mask)), unit(masked(classes, embed_mask))
        )
        return LayerNorm(name="norm_scores")(scores).reshape(x.shape[0], *grid, self.num_classes)


class ConvDecoder(nn.Module):
    """The stages' tokens, each through a norm and a linear layer, added up on their grid; a
    convolution; twice the grid; another; a linear layer.

    Attributes:
        width: channels.
    """

    num_classes: int
    width: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, levels: Levels, grid: Grid, embed_mask: Float[Array, " embed"] | None = None
    ) -> Float[Array, "n fine_rows fine_columns classes"]:
        def lateral(i, level):
            return Dense(self.width, dtype=self.dtype, name=f"lateral_{i}")(
                LayerNorm(name=f"norm_{i}")(level, embed_mask)
            )

        x = sum(lateral(i, level) for i, level in enumerate(levels)).reshape(
            levels[0].shape[0], *grid, self.width
        )
        x = self._convolved(x, "coarse")
        x = jax.image.resize(x, (x.shape[0], 2 * grid[0], 2 * grid[1], self.width), "bilinear")
        return Dense(self.num_classes, dtype=self.dtype, name="classify")(
            self._convolved(x, "fine")
        )

    def _convolved(self, x, name: str):
        x = nn.Conv(self.width, (3, 3), padding="SAME", dtype=self.dtype, name=name)(x)
        return gelu(LayerNorm(name=f"norm_{name}")(x))
