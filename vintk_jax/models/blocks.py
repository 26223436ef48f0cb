"""Transformer blocks, and stacks of them: unrolled, or scanned with masks that switch them off."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.attention import Attention
from vintk_jax.models.layers import LayerNorm, Mlp
from vintk_jax.models.patch_embed import Grid
from vintk_jax.models.regions import Regions
from vintk_jax.models.stacking import (
    drop_path,
    mask_of_block,
    scan_blocks,
    skip_if_dead,
    split_masks,
)


class Block(nn.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + mlp(norm(x)).

    Attributes:
        norm_grids: token grids whose norms have scales and shifts of their own; empty: all share
            one.
        residual_scale: what attention and MLP are multiplied by before they are added.
    """

    num_heads: int
    head_dim: int
    hidden: int
    max_distance: int = 0
    norm_grids: tuple[Grid | Regions, ...] = ()
    residual_scale: float = 1.0
    dtype: DTypeLike | None = None

    def setup(self):
        self.norm1, self.norm2 = (LayerNorm(variants=len(self.norm_grids)) for _ in range(2))
        self.attention = Attention(self.num_heads, self.head_dim, self.max_distance, self.dtype)
        self.mlp = Mlp(self.hidden, self.dtype)

    def __call__(
        self,
        x: Float[Array, "n tokens embed"],
        grid: Grid | Regions,
        embed_mask: Float[Array, " embed"] | None = None,
        masks: dict | None = None,
        drop_path_mask: Float[Array, "2 n"] | None = None,
    ) -> Float[Array, "n tokens embed"]:
        """Apply the block; a dead one is skipped (`stacking.skip_if_dead`).

        Args:
            masks: `alive` (), `heads` (heads,) or (heads, head_dim), and `hidden` (hidden,); 1 is
                live.
            drop_path_mask: what stochastic depth multiplies the two residuals of each sample by;
                None leaves them as they are.
        """

        def residuals(block, x, head_mask, hidden_mask):
            return block._residuals(x, grid, embed_mask, head_mask, hidden_mask, drop_path_mask)

        return skip_if_dead(residuals, self, x, masks)

    def _residuals(self, x, grid, embed_mask, head_mask, hidden_mask, drop_path_mask):
        variant = self.norm_grids.index(grid) if self.norm_grids else 0

        def scaled(y):
            return y if self.residual_scale == 1 else y * self.residual_scale

        # Attention.
        y = self.attention(self.norm1(x, embed_mask, variant), grid, embed_mask, head_mask)
        x = checkpoint_name(x + drop_path(scaled(y), drop_path_mask, 0), "middle")
        # MLP.
        y = self.mlp(self.norm2(x, embed_mask, variant), embed_mask, hidden_mask)
        return x + drop_path(scaled(y), drop_path_mask, 1)


def stack(
    kinds: Sequence[Mapping[str, Any]],
    x: Float[Array, "n tokens embed"],
    grid: tuple[int, ...] | Regions,
    embed_mask: Float[Array, " embed"] | None,
    masks: dict | None,
    drop_path_mask: Float[Array, "depth 2 n"] | None = None,
    *,
    scan: bool,
    remat: bool,
    kind: type[nn.Module] = Block,
) -> Float[Array, "n tokens embed"]:
    """Blocks one after another, as submodules of the compact method that calls this.

    Args:
        kinds: the fields of each block.
        grid, masks, drop_path_mask: as `Block` takes them, both masks stacked over blocks.
        scan: one traced block over stacked parameters (named `blocks`), instead of one for each
            (`block_i`).
        remat: recompute activations in the backward pass instead of storing them.
        kind: `Block`, or a module that is called alike.

    Raises:
        ValueError: if blocks that differ are to be scanned.
    """
    if not scan:
        block = nn.remat(kind, static_argnums=(2,)) if remat else kind
        for i, fields in enumerate(kinds):
            block_masks = mask_of_block(masks, i)
            block_drop_path = None if drop_path_mask is None else drop_path_mask[i]
            x = block(**fields, name=f"block_{i}")(
                x, grid, embed_mask, block_masks, block_drop_path
            )
        return x
    if any(fields != kinds[0] for fields in kinds):
        raise ValueError(
            "Expected equal heads and MLP widths in every block for scan=True, got blocks that "
            "differ. Set scan=False for this architecture."
        )
    return scan_blocks(
        kind,
        kinds[0],
        len(kinds),
        x,
        (embed_mask, masks, drop_path_mask),
        stacked=(False, True, True),
        static=(grid,),
        remat=remat,
    )


class Stage(nn.Module):
    """Blocks of one kind, as a module of their own: what models of several stages are made of.

    Attributes:
        kinds: the fields of each `Block`.
        scan, remat: see `stack`.
    """

    kinds: tuple[Any, ...]
    scan: bool = False
    remat: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n tokens embed"],
        grid: Grid,
        masks: dict | None = None,
        drop_path_mask: Float[Array, "depth 2 n"] | None = None,
    ) -> Float[Array, "n tokens embed"]:
        """Apply the blocks; `masks` has `embed` (embed,) and, stacked over blocks, what `Block`
        takes.
        """
        of_stage, of_blocks = split_masks(masks, ("embed",))
        return stack(
            [dict(kind) for kind in self.kinds],
            x,
            grid,
            of_stage.get("embed"),
            of_blocks,
            drop_path_mask,
            scan=self.scan,
            remat=self.remat,
        )


def alike(depth: int, **kind: Any) -> tuple[Any, ...]:
    """`Stage.kinds` for that many blocks of one kind, hashable as a module's fields have to be."""
    return (tuple(kind.items()),) * depth
