"""Hierarchical shifted-window transformer (Swin, Liu et al. 2021, arXiv 2103.14030), with
AutoFormerV2's freedom of sizes.

AutoFormerV2 (S3, Chen et al. 2021, arXiv 2111.14725; github.com/microsoft/Cream, AutoFormerV2) is a
Swin whose stages choose their widths and windows independently of each other, with 32 dimensions a
head.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.layer_decay import Layers, stages
from vintk_jax.models.layers import Dense, LayerNorm, Mlp, linear_init, masked
from vintk_jax.models.patch_embed import Grid, PatchEmbed, grid_of
from vintk_jax.models.stacking import mask_of_block, scan_blocks, skip_if_dead, split_masks
from vintk_jax.models.windows import Switch, WindowAttention

_EPSILON = 1e-5  # of all norms, as in Swin (timm's ViTs: 1e-6)


class WindowBlock(nn.Module):
    """Pre-norm block: x + attention(norm(x)) within windows, then x + mlp(norm(x)).

    Attributes:
        windows: see `WindowAttention`.
    """

    num_heads: int
    head_dim: int
    hidden: int
    windows: tuple[int, ...]
    dtype: DTypeLike | None = None

    def setup(self):
        self.norm1, self.norm2 = (LayerNorm(_EPSILON) for _ in range(2))
        self.attention = WindowAttention(self.num_heads, self.head_dim, self.windows, self.dtype)
        self.mlp = Mlp(self.hidden, self.dtype)

    def __call__(
        self,
        x: Float[Array, "n tokens embed"],
        grid: Grid,
        embed_mask: Float[Array, " embed"] | None = None,
        masks: dict | None = None,
        window_mask: Float[Array, " windows"] | None = None,
        shifted: Switch = False,
    ) -> Float[Array, "n tokens embed"]:
        """Apply the block; a dead one is skipped (`stacking.skip_if_dead`).

        Args:
            masks: `alive` (), `heads` (heads,) and `hidden` (hidden,); 1 is live.
            window_mask, shifted: see `WindowAttention`.
        """

        def residuals(block, x, head_mask, hidden_mask):
            return block._residuals(
                x, grid, embed_mask, head_mask, hidden_mask, window_mask, shifted
            )

        return skip_if_dead(residuals, self, x, masks)

    def _residuals(self, x, grid, embed_mask, head_mask, hidden_mask, window_mask, shifted):
        # Attention within windows.
        y = self.attention(
            self.norm1(x, embed_mask), grid, embed_mask, head_mask, window_mask, shifted
        )
        x = checkpoint_name(x + y, "middle")
        # MLP.
        return x + self.mlp(self.norm2(x, embed_mask), embed_mask, hidden_mask)


class WindowStage(nn.Module):
    """Equal blocks of one width, every second one with shifted windows.

    Attributes:
        depth: blocks.
        num_heads, head_dim, hidden, windows, dtype: of each `WindowBlock`.
        scan, remat: see `blocks.stack`.
    """

    depth: int
    num_heads: int
    head_dim: int
    hidden: int
    windows: tuple[int, ...]
    scan: bool = False
    remat: bool = False
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "n tokens embed"], grid: Grid, masks: dict | None = None
    ) -> Float[Array, "n tokens embed"]:
        """Apply the blocks; `masks` as in `Swin.__call__`, those of this stage."""
        of_stage, of_blocks = split_masks(masks, ("embed", "windows"))
        embed_mask = of_stage.get("embed")
        window_mask = of_stage.get("windows")
        fields = {
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "hidden": self.hidden,
            "windows": self.windows,
            "dtype": self.dtype,
        }
        if self.scan:
            shifted = jnp.arange(self.depth) % 2 == 1
            return scan_blocks(
                WindowBlock,
                fields,
                self.depth,
                x,
                (embed_mask, of_blocks, window_mask, shifted),
                stacked=(False, True, False, True),
                static=(grid,),
                remat=self.remat,
            )
        block = nn.remat(WindowBlock, static_argnums=(2, 6)) if self.remat else WindowBlock
        for i in range(self.depth):
            shifted = i % 2 == 1
            x = block(**fields, name=f"block_{i}")(
                x, grid, embed_mask, mask_of_block(of_blocks, i), window_mask, shifted
            )
        return x


class PatchMerging(nn.Module):
    """Two by two tokens become one: side by side, normalised, and mapped linearly to the next
    width.

    Attributes:
        embed_dim: width of the output.
    """

    embed_dim: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n tokens inputs"],
        grid: Grid,
        in_mask: Float[Array, " inputs"] | None = None,
        out_mask: Float[Array, " embed"] | None = None,
    ) -> Float[Array, "n quarter embed"]:
        """Merge; the masks are of live channels before and after.

        Raises:
            ValueError: for a grid of odd sides.
        """
        rows, columns = grid
        if rows % 2 or columns % 2:
            raise ValueError(
                f"Expected a grid of even sides, to be halved, got {rows} x {columns} tokens. "
                "Resize the images."
            )
        # the row varies first, as in Swin
        x = x.reshape(x.shape[0], rows // 2, 2, columns // 2, 2, -1).transpose(0, 1, 3, 4, 2, 5)
        x = x.reshape(x.shape[0], rows * columns // 4, -1)
        x = LayerNorm(_EPSILON, name="norm")(x, None if in_mask is None else jnp.tile(in_mask, 4))
        x = Dense(
            self.embed_dim,
            use_bias=False,
            kernel_init=linear_init,
            dtype=self.dtype,
            name="reduction",
        )(x)
        return masked(x, out_mask)


class Swin(nn.Module):
    """Stages of window attention, between which the grid is halved; the mean over tokens is read at
    the end.

    Attributes:
        embed_dims, depths, num_heads, hidden: width, blocks, heads and MLP width of each stage.
        windows: sides of the windows that each stage can choose from; one for an ordinary model. A
            window is meant to be no larger than its stage's grid (`S3Space.model` cuts it); a
            larger one has the grid filled up.
        head_dim: width of a head, in all stages.
        num_classes: outputs.
        patch_size: side of a patch in pixels.
        scan, remat: see `blocks.stack`.
        dtype: of the computation; None takes the input's.
    """

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    hidden: tuple[int, ...]
    windows: tuple[tuple[int, ...], ...]
    head_dim: int = 32
    num_classes: int = 1000
    patch_size: int = 4
    scan: bool = False
    remat: bool = False
    dtype: DTypeLike | None = None

    @property
    def layers(self) -> Layers:
        """See `models.layer_decay`."""
        blocks = stages(self.depths, self.scan, ("merge",))
        return (("patch_embed", "patch_norm"), *blocks, ("norm", "head"))

    @nn.compact
    def __call__(
        self, images: Float[Array, "n height width channels"], masks: dict[str, dict] | None = None
    ) -> Float[Array, "n classes"]:
        """Logits of a batch of images.

        Args:
            images: any number of channels at initialisation, that number afterwards.
            masks: for each stage, as "stage_i", `embed` (embed_dim,), `windows` (windows,), and
                stacked over its blocks `alive` (depth,), `heads` (depth, heads), `hidden` (depth,
                hidden); 1 is live, 0 dead. None: an ordinary model.

        Raises:
            ValueError: for images whose sides are no multiple of the patch size, doubled for each
                stage but the first.
        """
        of_stage = [None if masks is None else masks[f"stage_{i}"] for i in range(len(self.depths))]
        live = [None if m is None else m["embed"] for m in of_stage]
        grid = grid_of(images.shape[1:], self.patch_size, None)
        # Patches to tokens.
        embed = PatchEmbed(self.patch_size, self.embed_dims[0], self.dtype, name="patch_embed")
        x = masked(embed(images, grid), live[0])
        x = LayerNorm(_EPSILON, name="patch_norm")(x, live[0])
        # Stages.
        sizes = zip(
            self.depths,
            self.num_heads,
            (self.head_dim,) * len(self.depths),
            self.hidden,
            self.windows,
            strict=True,
        )
        for i, size in enumerate(sizes):
            if i:
                x = PatchMerging(self.embed_dims[i], self.dtype, name=f"merge_{i}")(
                    x, grid, live[i - 1], live[i]
                )
                grid = (grid[0] // 2, grid[1] // 2)
            x = WindowStage(*size, self.scan, self.remat, self.dtype, name=f"stage_{i}")(
                x, grid, of_stage[i]
            )
        # Classifier.
        x = LayerNorm(_EPSILON, name="norm")(x, live[-1]).mean(axis=1)
        return Dense(self.num_classes, kernel_init=linear_init, dtype=self.dtype, name="head")(x)
