"""Pooling-based vision transformer (PiT, Heo et al. 2021, arXiv 2103.16302): three stages, between
which the token grid is halved.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.models.blocks import Stage, alike
from vintk_jax.models.layer_decay import Layers, stages
from vintk_jax.models.layers import Dense, LayerNorm, conv_init, linear_init, masked
from vintk_jax.models.patch_embed import ClassToken, Grid, PositionEmbed
from vintk_jax.multiply_adds import CONVOLUTION

_SIDE = 3  # of the pooling's kernel: stride + 1, as the published models have it


def halved(grid: Grid) -> Grid:
    """The token grid after a pooling."""
    return (grid[0] + 1) // 2, (grid[1] + 1) // 2


def _spread(
    x: Float[Array, "n rows columns inputs"],
    features: int,
    in_mask: Float[Array, " inputs"] | None,
    out_mask,
) -> Float[Array, "n rows columns features"]:
    """The input channel that each output channel reads: each live one feeds as many neighbours as
    there are live outputs for it.
    """
    if in_mask is None:
        if features % x.shape[-1]:
            raise ValueError(
                f"Expected a multiple of {x.shape[-1]} channels from a depth-wise convolution, got "
                f"{features}."
            )
        return jnp.repeat(x, features // x.shape[-1], axis=-1)
    ratio = jnp.maximum(jnp.round(jnp.sum(out_mask) / jnp.maximum(jnp.sum(in_mask), 1)), 1).astype(
        jnp.int32
    )
    source = jnp.arange(features) // ratio
    return x @ (jnp.arange(x.shape[-1])[:, None] == source).astype(x.dtype)


def depthwise_pool(
    x: Float[Array, "n rows columns inputs"],
    kernel: Float[Array, "*copies side side features"],
    bias: Float[Array, "*copies features"],
    in_mask: Float[Array, " inputs"] | None = None,
    out_mask: Float[Array, " features"] | None = None,
) -> Float[Array, "n halfrows halfcolumns features"]:
    """Depth-wise 3 x 3 convolution of stride 2, padded by one on each side, as nine shifted
    products (what a CPU is fast at).

    Args:
        kernel, bias: one for all samples, or with a leading axis one for each.
        in_mask, out_mask: live channels before and after.

    Raises:
        ValueError: if the features are no multiple of the inputs.
    """
    x = _spread(x, kernel.shape[-1], in_mask, out_mask)
    rows, columns = halved(x.shape[1:3])
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))

    def on_places(v):
        return v.astype(x.dtype)[..., None, None, :]

    y = on_places(bias)
    with jax.named_scope(CONVOLUTION):
        for i in range(_SIDE):
            for j in range(_SIDE):
                shifted = x[:, i : i + 2 * rows - 1 : 2, j : j + 2 * columns - 1 : 2]
                y = y + shifted * on_places(kernel[..., i, j, :])
    return masked(y, out_mask)


class DepthwisePool(nn.Module):
    """`depthwise_pool` with its parameters.

    Attributes:
        features: output channels: a multiple of the inputs', each input channel feeding as many
            neighbouring outputs.
    """

    features: int

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n rows columns inputs"],
        in_mask: Float[Array, " inputs"] | None = None,
        out_mask: Float[Array, " features"] | None = None,
    ) -> Float[Array, "n halfrows halfcolumns features"]:
        one_input = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=(0, 1))
        kernel = self.param("kernel", one_input, (_SIDE, _SIDE, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return depthwise_pool(x, kernel, bias, in_mask, out_mask)


class PiT(nn.Module):
    """Three stages (or any number), each with a width of its own; a class token is read at the end.

    Attributes:
        embed_dims: width of each stage, each a multiple of the one before.
        depths: blocks of each stage.
        num_heads: of each stage.
        hidden: MLP width of each stage.
        head_dim: width of a head, in all stages.
        num_classes: outputs.
        patch_size, stride: of the patch embedding, whose patches overlap.
        native_grid: token rows and columns ahead of the first stage, that the positions are stored
            for.
        scan, remat: see `blocks.stack`.
    """

    embed_dims: tuple[int, ...]
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    hidden: tuple[int, ...]
    head_dim: int
    num_classes: int = 1000
    patch_size: int = 16
    stride: int = 8
    native_grid: Grid = (27, 27)
    scan: bool = False
    remat: bool = False

    @property
    def layers(self) -> Layers:
        """See `models.layer_decay`."""
        embedding = ("patch_embed", "positions", "class_token")
        blocks = stages(self.depths, self.scan, ("pool", "pool_token"))
        return (embedding, *blocks, ("norm", "head"))

    @nn.compact
    def __call__(
        self, images: Float[Array, "n height width channels"], masks: dict[str, dict] | None = None
    ) -> Float[Array, "n classes"]:
        """Logits of a batch of images.

        Args:
            images: any number of channels at initialisation, that number afterwards.
            masks: for each stage, as "stage_i", `embed` (embed_dim,), and stacked over its blocks
                `alive` (depth,), `heads` (depth, heads, head_dim), `hidden` (depth, hidden); 1 is
                live, 0 dead. None: an ordinary PiT.
        """
        of_stage = [None if masks is None else masks[f"stage_{i}"] for i in range(len(self.depths))]
        live = [None if m is None else m["embed"] for m in of_stage]
        # Patches to tokens.
        x = nn.Conv(
            self.embed_dims[0],
            (self.patch_size, self.patch_size),
            (self.stride, self.stride),
            padding="VALID",
            kernel_init=conv_init,
            name="patch_embed",
        )(images)
        grid = x.shape[1:3]
        x = x.reshape(x.shape[0], -1, x.shape[-1])
        x = PositionEmbed(self.native_grid, num_extra=0, name="positions")(x, grid)
        x = masked(ClassToken(name="class_token")(x), live[0])
        # Stages.
        for i, depth in enumerate(self.depths):
            if i:
                x, grid = self._pooled(i, x, grid, live)
            kinds = alike(
                depth, num_heads=self.num_heads[i], head_dim=self.head_dim, hidden=self.hidden[i]
            )
            x = Stage(kinds, self.scan, self.remat, name=f"stage_{i}")(x, grid, of_stage[i])
        # Classifier.
        x = LayerNorm(name="norm")(x[:, 0], live[-1])
        return Dense(self.num_classes, kernel_init=linear_init, name="head")(x)

    def _pooled(self, i: int, x, grid: Grid, live):
        """Tokens and grid as stage i takes them: half the sides, another width."""
        width = self.embed_dims[i]
        token = x[:, 0]
        on_grid = x[:, 1:].reshape(x.shape[0], *grid, -1)
        pooled = DepthwisePool(width, name=f"pool_{i}")(on_grid, live[i - 1], live[i])
        token = Dense(width, kernel_init=linear_init, name=f"pool_token_{i}")(token)
        token = masked(token, live[i])
        x = jnp.concatenate([token[:, None], pooled.reshape(x.shape[0], -1, width)], axis=1)
        return x, pooled.shape[1:3]
