"""The plain vision transformer: DeiT, AutoFormer and LV-ViT by configuration, and the supernet that
masks turn into any of them.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.blocks import stack
from vintk_jax.models.conv_stem import SIDES, STRIDE, ConvStem
from vintk_jax.models.layer_decay import Layers, block_layers
from vintk_jax.models.layers import Dense, LayerNorm, linear_init, masked
from vintk_jax.models.patch_embed import (
    ClassToken,
    Grid,
    PatchEmbed,
    PositionEmbed,
    fit_to_grid,
    grid_of,
)
from vintk_jax.models.regions import Regions, Reuse, assembled, ranked
from vintk_jax.models.stacking import split_masks


class ViT(nn.Module):
    """Vision transformer with a choice of heads and MLP width in every block.

    Attributes:
        embed_dim: width of a token.
        num_heads: heads of each block, from the first on; its length is the depth.
        hidden: MLP width of each block.
        head_dim: width of a head; DeiT has embed_dim / heads, AutoFormer 64 always.
        num_classes: outputs.
        patch_size: native patch side in pixels.
        native_grid: token rows and columns that the patch kernel and the positions are stored for.
        max_distance: clip of the relative positions; 0 means none (DeiT). AutoFormer: 14.
        norm_grids: token grids, and lengths by region, whose norms have scales and shifts of their
            own (a ReViT's lengths); empty: all share one.
        pool: what the head reads: the class token or the mean over patches (the class token stays
            in the sequence).
        stem_width: channels of a convolutional stem, whose features are cut into patches; 0: pixels
            are.
        stem_sides: of the stem's kernels (`conv_stem`).
        residual_scale: what each residual is multiplied by before it is added (LV-ViT-S: 1/2).
        aux_head: a second classifier, of each patch; its largest answer for each class counts half
            in the logits (LV-ViT).
        scan: one traced block over stacked parameters: compiles in a fraction of the time; needs
            equal blocks.
        remat: recompute a block's activations in the backward pass instead of keeping them.
        dtype: of the computation; None takes the input's. Parameters are float32 unless cast.
    """

    embed_dim: int
    num_heads: tuple[int, ...]
    hidden: tuple[int, ...]
    head_dim: int = 64
    num_classes: int = 1000
    patch_size: int = 16
    native_grid: Grid = (14, 14)
    max_distance: int = 0
    norm_grids: tuple[Grid | Regions, ...] = ()
    pool: Literal["token", "mean"] = "token"
    stem_width: int = 0
    stem_sides: tuple[int, ...] = SIDES
    residual_scale: float = 1.0
    aux_head: bool = False
    scan: bool = False
    remat: bool = False
    dtype: DTypeLike | None = None

    @property
    def num_blocks(self) -> int:
        """How many blocks there are: what stochastic depth counts."""
        return len(self.num_heads)

    @property
    def layers(self) -> Layers:
        """See `models.layer_decay`."""
        embedding = ("stem", "patch_embed", "class_token", "positions", "reuse")
        blocks = block_layers(self.num_blocks, self.scan)
        return (embedding, *blocks, ("norm", "head", "aux_head"))

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n height width channels"],
        grid: int | Grid | Regions | None = None,
        masks: dict | None = None,
        drop_path_mask: Float[Array, "depth 2 n"] | None = None,
        dense: bool = False,
        known: Float[Array, "n coarse embed"] | None = None,
    ) -> (
        Float[Array, "n classes"]
        | tuple[Float[Array, "n classes"], Float[Array, "n patches classes"]]
    ):
        """Logits of a batch of images; with `dense` those of the head alone, and the logits of each
        patch.

        Args:
            images: values as the model was made for; any number of channels at initialisation, that
                number afterwards.
            grid: token rows and columns to cut the images into, which are resized a little where
                they don't divide (`fit_to_grid`); None keeps the native patch size. With a stem its
                features are cut and resized, and None is the native grid. `Regions`: the second
                pass of a length by region.
            masks: switches parts of the model off: `embed` (embed_dim,), with a stem `stem`
                (stem_width,), and stacked over blocks `alive` (depth,), `heads` (depth, heads),
                `hidden` (depth, hidden); 1 is live, 0 dead. None: an ordinary ViT.
            drop_path_mask: what stochastic depth multiplies each block's two residuals by (0, or
                one over the share that is not dropped).
            dense: patches are classified by `aux_head`; without one by the head, which the mean of
                patches suits (pool="mean").
            known: for `Regions`: what the last norm gave in the pass on the coarse grid.

        Raises:
            ValueError: if the images don't divide into native patches, the grid is finer than the
                image or has no norms, blocks that differ are to be scanned, or nothing is known of
                the pass ahead of a second one.
        """
        of_model, of_blocks = split_masks(masks, ("embed", "stem"))
        embed_mask = of_model.get("embed")
        head = self._classifier("head")
        x, grid = self._embedded(images, grid, embed_mask, of_model.get("stem"), known, head)
        x = self._blocks(x, grid, embed_mask, of_blocks, drop_path_mask)
        variant = self.norm_grids.index(grid) if self.norm_grids else 0
        x = LayerNorm(variants=len(self.norm_grids), name="norm")(x, embed_mask, variant)
        return self._classified(x, dense, head)

    def _embedded(self, images, grid, embed_mask, stem_mask, known, head):
        """Images as tokens with their positions, and the token grid."""
        side = self.patch_size
        grid = (grid, grid) if isinstance(grid, int) else grid
        # Convolutional stem.
        if self.stem_width:
            stem = ConvStem(self.stem_width, self.dtype, self.stem_sides, name="stem")
            images = stem(images, stem_mask)
            side = side // STRIDE
            grid = grid or self.native_grid
        patch_embed = PatchEmbed(side, self.embed_dim, self.dtype, name="patch_embed")
        class_token = ClassToken(name="class_token")
        positions = PositionEmbed(self.native_grid, name="positions")

        def tokens(grid):
            fitted = images if grid is None else fit_to_grid(images, grid)
            grid = grid_of(fitted.shape[1:], side, grid)
            x = class_token(patch_embed(fitted, grid))
            return masked(positions(x, grid), embed_mask), grid

        if isinstance(grid, Regions):
            x = self._by_region(tokens, grid, known, embed_mask, head)
        else:
            x, grid = tokens(grid)
        if self.norm_grids and grid not in self.norm_grids:
            raise ValueError(
                f"Expected one of the token grids that the model has norms for, {self.norm_grids}, "
                f"got {grid}."
            )
        return x, grid

    def _by_region(self, tokens, regions, known, embed_mask, head):
        """Coarse tokens, of which some are cut, with what is known of them."""
        if known is None:
            raise ValueError(
                f"Expected what the pass on {regions.grid} knew (known) ahead of {regions}, got "
                "none. `models.passes` runs both."
            )
        coarse, _ = tokens(regions.grid)
        fine, _ = tokens(regions.fine)
        order = ranked(head(known[:, 1:]))
        reused = masked(Reuse(self.dtype, name="reuse")(known), embed_mask)
        return assembled(coarse, fine[:, 1:], reused, order, regions)

    def _classifier(self, name):
        return Dense(self.num_classes, kernel_init=linear_init, dtype=self.dtype, name=name)

    def _classified(self, x, dense, head):
        """Logits, with `dense` also those of each patch."""
        logits = head(x[:, 0] if self.pool == "token" else x[:, 1:].mean(axis=1))
        if not (dense or self.aux_head):
            return logits
        of_patches = (self._classifier("aux_head") if self.aux_head else head)(x[:, 1:])
        return (logits, of_patches) if dense else logits + 0.5 * jnp.max(of_patches, axis=1)

    def _blocks(self, x, grid, embed_mask, masks, drop_path_mask):
        shared = dict(
            head_dim=self.head_dim,
            max_distance=self.max_distance,
            norm_grids=self.norm_grids,
            residual_scale=self.residual_scale,
            dtype=self.dtype,
        )
        kinds = [
            dict(num_heads=h, hidden=m, **shared)
            for h, m in zip(self.num_heads, self.hidden, strict=True)
        ]
        return stack(
            kinds, x, grid, embed_mask, masks, drop_path_mask, scan=self.scan, remat=self.remat
        )
