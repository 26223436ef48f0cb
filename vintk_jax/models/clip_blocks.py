"""Transformer blocks over clips: attention divided into time and space, or in one go (TimeSformer,
arXiv 2102.05095). `blocks.stack` stacks them.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.grouped_attention import GroupedAttention
from vintk_jax.models.layers import Dense, LayerNorm, Mlp, linear_init, masked
from vintk_jax.models.stacking import drop_path, skip_if_dead

ClipGrid = tuple[int, int, int]


class _ClipBlock(nn.Module):
    """What both kinds have: called as `blocks.Block`, with frames ahead of rows and columns in the
    grid.

    Attributes:
        num_heads, head_dim, hidden, dtype: as in `blocks.Block`.
        norm_grids: lengths whose norms have scales and shifts of their own; empty: all share one.
    """

    num_heads: int
    head_dim: int
    hidden: int
    norm_grids: tuple[ClipGrid, ...] = ()
    dtype: DTypeLike | None = None

    def __call__(
        self,
        x: Float[Array, "n tokens embed"],
        grid: ClipGrid,
        embed_mask: Float[Array, " embed"] | None = None,
        masks: dict | None = None,
        drop_path_mask: Float[Array, "2 n"] | None = None,
    ) -> Float[Array, "n tokens embed"]:
        """Apply the block; a dead one is skipped (`stacking.skip_if_dead`).

        Args:
            masks: `alive` (), `heads` (heads,), `hidden` (hidden,); 1 is live.
            drop_path_mask: what stochastic depth multiplies the attentions' residuals and the
                MLP's by.
        """

        def residuals(block, x, head_mask, hidden_mask):
            return block._residuals(x, grid, embed_mask, head_mask, hidden_mask, drop_path_mask)

        return skip_if_dead(residuals, self, x, masks)

    def _normed(
        self, name: str, y: Float[Array, "n tokens embed"], grid: ClipGrid, embed_mask
    ) -> Float[Array, "n tokens embed"]:
        variant = self.norm_grids.index(grid) if self.norm_grids else 0
        return LayerNorm(variants=len(self.norm_grids), name=name)(y, embed_mask, variant)

    def _attended(
        self,
        name: str,
        groups: str,
        y: Float[Array, "n tokens embed"],
        frames: int,
        embed_mask,
        head_mask,
    ):
        return GroupedAttention(groups, self.num_heads, self.head_dim, self.dtype, name=name)(
            y, frames, embed_mask, head_mask
        )

    def _through_mlp(
        self,
        x: Float[Array, "n tokens embed"],
        grid: ClipGrid,
        embed_mask,
        hidden_mask,
        drop_path_mask,
    ):
        x = checkpoint_name(x, "middle")
        y = Mlp(self.hidden, self.dtype, name="mlp")(
            self._normed("norm2", x, grid, embed_mask), embed_mask, hidden_mask
        )
        return x + drop_path(y, drop_path_mask, 1)


class DividedBlock(_ClipBlock):
    """Pre-norm block: attention over time with a linear layer behind it, attention over space, an
    MLP, each added to what it reads.
    """

    @nn.compact
    def _residuals(self, x, grid, embed_mask, head_mask, hidden_mask, drop_path_mask):
        # Attention over time, without the class token.
        token = x[:, :1]
        tokens = x[:, 1:]
        normed = self._normed("norm_time", tokens, grid, embed_mask)
        over_time = self._attended("attention_time", "time", normed, grid[0], embed_mask, head_mask)
        over_time = Dense(x.shape[-1], kernel_init=linear_init, dtype=self.dtype, name="time_out")(
            over_time
        )
        tokens = tokens + drop_path(masked(over_time, embed_mask), drop_path_mask, 0)
        x = jnp.concatenate([token, tokens], axis=1)
        # Attention over space.
        normed = self._normed("norm1", x, grid, embed_mask)
        over_space = self._attended("attention", "space", normed, grid[0], embed_mask, head_mask)
        x = x + drop_path(over_space, drop_path_mask, 0)
        return self._through_mlp(x, grid, embed_mask, hidden_mask, drop_path_mask)


class FrameBlock(_ClipBlock):
    """`blocks.Block` over clips: attention within each frame, which has a class token of its own,
    or among all tokens.

    Attributes:
        joint: whether all tokens are one group.
    """

    joint: bool = False

    @nn.compact
    def _residuals(self, x, grid, embed_mask, head_mask, hidden_mask, drop_path_mask):
        normed = self._normed("norm1", x, grid, embed_mask)
        frames = 1 if self.joint else grid[0]
        y = self._attended("attention", "frames", normed, frames, embed_mask, head_mask)
        x = x + drop_path(y, drop_path_mask, 0)
        return self._through_mlp(x, grid, embed_mask, hidden_mask, drop_path_mask)
