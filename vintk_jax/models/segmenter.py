"""A vision transformer that says for every pixel what it shows: a plain ViT in stages, and one of
several decoders on it.

After Segmenter (Strudel et al. 2021, arXiv 2105.05633). Stages are for choosing depth, heads and
MLP widths by; the token grid stays one. There is no class token, since nothing reads it (our
choice).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.blocks import Stage, alike
from vintk_jax.models.decoders import ConvDecoder, LinearDecoder, MaskDecoder
from vintk_jax.models.layer_decay import Layers, stages
from vintk_jax.models.layers import masked
from vintk_jax.models.patch_embed import Grid, PatchEmbed, PositionEmbed

DECODERS = ("linear", "mask", "conv")


class Decoders(nn.Module):
    """One decoder, or several that a mask chooses from.

    Attributes:
        kinds: some of `DECODERS`.
        conv_width: channels of the convolutional one.
        mask_depth, mask_heads, head_dim, mask_hidden: blocks of the mask transformer, and of each
            the heads, a head's width, the MLP's width.
    """

    kinds: tuple[str, ...]
    num_classes: int
    conv_width: int
    mask_depth: int
    mask_heads: int
    mask_hidden: int
    head_dim: int
    dtype: DTypeLike | None = None

    def setup(self):
        self.decoders = [self._decoder(kind) for kind in self.kinds]

    def _decoder(self, kind: str) -> nn.Module:
        if kind == "linear":
            return LinearDecoder(self.num_classes, self.dtype, name=kind)
        if kind == "conv":
            return ConvDecoder(self.num_classes, self.conv_width, self.dtype, name=kind)
        return MaskDecoder(
            self.num_classes,
            self.mask_depth,
            self.mask_heads,
            self.head_dim,
            self.mask_hidden,
            self.dtype,
            name=kind,
        )

    def __call__(
        self,
        levels: Sequence[Float[Array, "n tokens embed"]],
        grid: Grid,
        size: Grid,
        embed_mask: Float[Array, " embed"] | None = None,
        chosen: Float[Array, " kinds"] | None = None,
    ) -> Float[Array, "n height width classes"]:
        """Scores at `size` (height, width) pixels, by the decoder that `chosen` has a one for; the
        first without it.
        """

        def by(i):
            def branch(module, levels):
                scores = module.decoders[i](levels, grid, embed_mask)
                return jax.image.resize(
                    scores, (scores.shape[0], *size, self.num_classes), "bilinear"
                )

            return branch

        branches = [by(i) for i in range(len(self.kinds))]
        if self.is_initializing():
            # All of them have parameters to draw.
            return [branch(self, levels) for branch in branches][0]  # noqa: RUF015
        if chosen is None:
            return branches[0](self, levels)
        return nn.switch(jnp.argmax(chosen), branches, self, levels)


class Segmenter(nn.Module):
    """ViT and decoder.

    Attributes:
        embed_dim: width of a token.
        depths, num_heads, hidden: of each stage: its blocks, and of each block the heads and the
            MLP's width.
        head_dim: width of a head.
        num_classes: what a pixel may show.
        patch_size: side of a patch in pixels.
        native_grid: token rows and columns that the positions are stored for; they are resampled
            for others.
        decoders: kinds of `DECODERS`: one, or a supernet's several.
        conv_width, mask_depth, mask_heads, mask_hidden: see `Decoders`.
        scan, remat: see `blocks.stack`.
        dtype: of the computation; None takes the input's.
    """

    embed_dim: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    hidden: tuple[int, ...]
    head_dim: int
    num_classes: int
    patch_size: int = 16
    native_grid: Grid = (32, 32)
    decoders: tuple[str, ...] = ("linear",)
    conv_width: int = 64
    mask_depth: int = 1
    mask_heads: int = 2
    mask_hidden: int = 256
    scan: bool = False
    remat: bool = False
    dtype: DTypeLike | None = None

    @property
    def num_blocks(self) -> int:
        """Of all stages together: what stochastic depth counts."""
        return sum(self.depths)

    @property
    def layers(self) -> Layers:
        """See `models.layer_decay`."""
        return (("patch_embed", "positions"), *stages(self.depths, self.scan, ()), ("head",))

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n height width channels"],
        masks: dict | None = None,
        drop_path_mask: Float[Array, "depth 2 n"] | None = None,
    ) -> Float[Array, "n height width classes"]:
        """Scores of every class at every pixel.

        Args:
            images: of any size; zeros are put below and to the right of those that patches don't
                fill, and taken off the result.
            masks: `embed` (embed_dim,), `decoder` (decoders,) with one 1, and for each stage, as
                "stage_i", what `blocks.Stage` takes.
            drop_path_mask: what stochastic depth multiplies each block's two residuals by.
        """
        # Fill the image up to whole patches.
        height, width = images.shape[1:3]
        grid = (-(-height // self.patch_size), -(-width // self.patch_size))
        full = (grid[0] * self.patch_size, grid[1] * self.patch_size)
        images = jnp.pad(images, ((0, 0), (0, full[0] - height), (0, full[1] - width), (0, 0)))
        # Patches to tokens.
        embed_mask = None if masks is None else masks["embed"]
        x = PatchEmbed(self.patch_size, self.embed_dim, self.dtype, name="patch_embed")(
            images, grid
        )
        x = PositionEmbed(self.native_grid, num_extra=0, name="positions")(x, grid)
        x = masked(x, embed_mask)
        # Stages.
        levels = []
        done = 0
        for i, depth in enumerate(self.depths):
            kinds = alike(
                depth,
                num_heads=self.num_heads[i],
                head_dim=self.head_dim,
                hidden=self.hidden[i],
                dtype=self.dtype,
            )
            of_stage = None if masks is None else masks[f"stage_{i}"]
            of_blocks = None if drop_path_mask is None else drop_path_mask[done : done + depth]
            x = Stage(kinds, self.scan, self.remat, name=f"stage_{i}")(x, grid, of_stage, of_blocks)
            levels.append(x)
            done += depth
        # Decoder.
        sizes = (self.conv_width, self.mask_depth, self.mask_heads, self.mask_hidden, self.head_dim)
        head = Decoders(self.decoders, self.num_classes, *sizes, self.dtype, name="head")
        scores = head(levels, grid, full, embed_mask, None if masks is None else masks["decoder"])
        return scores[:, :height, :width]
