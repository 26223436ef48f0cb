"""The plain vision transformer: DeiT and AutoFormer by configuration, and the supernet that masks turn into either."""

from collections.abc import Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.attention import Attention
from vintk_jax.models.layers import LayerNorm, Mlp, linear_init, masked
from vintk_jax.models.patch_embed import ClassToken, Grid, PatchEmbed, PositionEmbed, grid_of

# What a scanned block keeps for its backward pass; the rest (norms, GELU, softmax's inputs) is cheap to recompute, and storing and
# fetching it is not: much of what the loop would keep goes.
_KEPT = ("qkv", "attention", "context", "middle", "preactivation")


class Block(nn.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + mlp(norm(x))."""

    num_heads: int
    head_dim: int
    hidden: int
    max_distance: int = 0
    dtype: DTypeLike | None = None

    def setup(self):
        self.norm1, self.norm2 = LayerNorm(), LayerNorm()
        self.attention = Attention(self.num_heads, self.head_dim, self.max_distance, self.dtype)
        self.mlp = Mlp(self.hidden, self.dtype)

    def __call__(
        self, x: Float[Array, "n tokens embed"], grid: Grid, embed_mask=None, masks: dict | None = None
    ) -> Float[Array, "n tokens embed"]:
        """Apply the block; `masks` holds `alive` (), `heads` (heads,) and `hidden` (hidden,): see `ViT.__call__`.

        A dead block is skipped by `lax.cond`: under `vmap` both branches run, under `lax.map` on one device only the live one.
        """
        if masks is None:
            return self._residuals(x, grid, embed_mask, None, None)
        live = lambda block, x: block._residuals(x, grid, embed_mask, masks["heads"], masks["hidden"])
        return nn.cond(masks["alive"] > 0, live, lambda block, x: x, self, x)

    def _residuals(self, x, grid, embed_mask, head_mask, hidden_mask):
        x = checkpoint_name(x + self.attention(self.norm1(x, embed_mask), grid, embed_mask, head_mask), "middle")
        return x + self.mlp(self.norm2(x, embed_mask), embed_mask, hidden_mask)


class _ScanStep(nn.Module):
    """`Block` in the shape that `nn.scan` wants: carry in, (carry, output) out."""

    block: Mapping[str, Any]
    grid: Grid

    @nn.compact
    def __call__(self, x, embed_mask, masks):
        return Block(**self.block, name="block")(x, self.grid, embed_mask, masks), None


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
        pool: what the head reads: the class token or the mean over patches (the class token stays in the sequence).
        scan: one traced block over stacked parameters: compiles in a fraction of the time; needs equal blocks.
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
    pool: Literal["token", "mean"] = "token"
    scan: bool = False
    remat: bool = False
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "n height width channels"], grid: int | Grid | None = None, masks: dict | None = None
    ) -> Float[Array, "n classes"]:
        """Logits of a batch of images.

        Args:
            images: values as the model was made for; any number of channels at initialisation, that number afterwards.
            grid: token rows and columns to cut the images into; None keeps the native patch size.
            masks: switches parts of the model off: `embed` (embed_dim,), and stacked over blocks `alive` (depth,),
                `heads` (depth, heads), `hidden` (depth, hidden); 1 is live, 0 dead. None: an ordinary ViT.

        Raises:
            ValueError: if the images don't divide into the grid, or blocks that differ are to be scanned.
        """
        grid = grid_of(images.shape, self.patch_size, grid)
        embed_mask, block_masks = (None, None) if masks is None else (masks["embed"], {k: v for k, v in masks.items() if k != "embed"})
        x = PatchEmbed(self.patch_size, self.embed_dim, self.dtype, name="patch_embed")(images, grid)
        x = ClassToken(name="class_token")(x)
        x = masked(PositionEmbed(self.native_grid, name="positions")(x, grid), embed_mask)
        x = self._blocks(x, grid, embed_mask, block_masks)
        x = LayerNorm(name="norm")(x, embed_mask)
        x = x[:, 0] if self.pool == "token" else x[:, 1:].mean(axis=1)
        return nn.Dense(self.num_classes, kernel_init=linear_init, dtype=self.dtype, name="head")(x)

    def _blocks(self, x, grid, embed_mask, masks):
        kinds = [
            dict(num_heads=h, head_dim=self.head_dim, hidden=m, max_distance=self.max_distance, dtype=self.dtype)
            for h, m in zip(self.num_heads, self.hidden, strict=True)
        ]
        if not self.scan:
            block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
            for i, kind in enumerate(kinds):
                x = block(**kind, name=f"block_{i}")(x, grid, embed_mask, None if masks is None else {k: v[i] for k, v in masks.items()})
            return x
        if any(kind != kinds[0] for kind in kinds):
            raise ValueError("scan=True needs equal heads and MLP widths in every block; set scan=False for this architecture.")
        keep = None if self.remat else jax.checkpoint_policies.save_only_these_names(*_KEPT)
        step = nn.remat(_ScanStep, prevent_cse=False, policy=keep)
        scanned = nn.scan(
            step,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=(nn.broadcast, 0 if masks is not None else nn.broadcast),
            length=len(kinds),
        )
        return scanned(kinds[0], grid, name="blocks")(x, embed_mask, masks)[0]
