"""Transformer blocks, and a stack of them: unrolled, or scanned with masks that switch blocks
off.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.attention import Attention
from vintk_jax.models.layers import LayerNorm, Mlp
from vintk_jax.models.patch_embed import Grid

# What a scanned block keeps for its backward pass; the rest (norms, GELU, softmax's inputs) is
# cheap to recompute, and storing and fetching it is not: much of what the loop would keep goes.
KEPT = ("qkv", "attention", "context", "middle", "preactivation")


# A scan over blocks gives each its own parameters, and its own entries of this collection, in which
# `ntk.structured` keeps what it measures of each layer; for others it is empty.
TAPS = "taps"
STACKED = {"params": 0, TAPS: 0}


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
    norm_grids: tuple[Grid, ...] = ()
    residual_scale: float = 1.0
    dtype: DTypeLike | None = None

    def setup(self):
        self.norm1, self.norm2 = (LayerNorm(variants=len(self.norm_grids)) for _ in range(2))
        self.attention = Attention(self.num_heads, self.head_dim, self.max_distance, self.dtype)
        self.mlp = Mlp(self.hidden, self.dtype)

    def __call__(
        self,
        x: Float[Array, "n tokens embed"],
        grid: Grid,
        embed_mask: Float[Array, " embed"] | None = None,
        masks: dict | None = None,
        keep: Float[Array, "2 n"] | None = None,
    ) -> Float[Array, "n tokens embed"]:
        """Apply the block.

        A dead block is skipped by `lax.cond`: under `vmap` both branches run, under `lax.map` on
        one device only the live one.

        Args:
            masks: `alive` (), `heads` (heads,) or (heads, head_dim), and `hidden` (hidden,); 1 is
                live.
            keep: what stochastic depth multiplies the two residuals of each sample by; None leaves
                them as they are.
        """
        if masks is None:
            return self._residuals(x, grid, embed_mask, None, None, keep)

        def live(block, x):
            return block._residuals(x, grid, embed_mask, masks["heads"], masks["hidden"], keep)

        return nn.cond(masks["alive"] > 0, live, lambda block, x: x, self, x)

    def _residuals(self, x, grid, embed_mask, head_mask, hidden_mask, keep):
        variant = self.norm_grids.index(grid) if self.norm_grids else 0

        def scaled(y):
            return y if self.residual_scale == 1 else y * self.residual_scale

        def kept(y, which):
            return (
                scaled(y)
                if keep is None
                else scaled(y) * keep[which][:, None, None].astype(y.dtype)
            )

        y = kept(self.attention(self.norm1(x, embed_mask, variant), grid, embed_mask, head_mask), 0)
        x = checkpoint_name(x + y, "middle")
        return x + kept(self.mlp(self.norm2(x, embed_mask, variant), embed_mask, hidden_mask), 1)


class _ScanStep(nn.Module):
    """A block in the shape that `nn.scan` wants: carry in, (carry, output) out."""

    kind: type[nn.Module]
    fields: Mapping[str, Any]
    grid: tuple[int, ...]

    @nn.compact
    def __call__(self, x, embed_mask, masks, keep):
        return self.kind(**self.fields, name="block")(x, self.grid, embed_mask, masks, keep), None


def stack(
    kinds: Sequence[Mapping[str, Any]],
    x: Float[Array, "n tokens embed"],
    grid: tuple[int, ...],
    embed_mask: Float[Array, " embed"] | None,
    masks: dict | None,
    keep: Float[Array, "depth 2 n"] | None = None,
    *,
    scan: bool,
    remat: bool,
    kind: type[nn.Module] = Block,
) -> Float[Array, "n tokens embed"]:
    """Blocks one after another, as submodules of the compact method that calls this.

    Args:
        kinds: the fields of each block.
        grid, masks, keep: as `Block` takes them, masks and keep stacked over blocks.
        scan: one traced block over stacked parameters (named `blocks`), instead of one for each
            (`block_i`).
        remat: recompute activations in the backward pass instead of keeping them.
        kind: `Block`, or a module that is called alike.

    Raises:
        ValueError: if blocks that differ are to be scanned.
    """
    if not scan:
        block = nn.remat(kind, static_argnums=(2,)) if remat else kind
        for i, fields in enumerate(kinds):
            own = None if masks is None else {k: v[i] for k, v in masks.items()}
            x = block(**fields, name=f"block_{i}")(
                x, grid, embed_mask, own, None if keep is None else keep[i]
            )
        return x
    if any(fields != kinds[0] for fields in kinds):
        raise ValueError(
            "scan=True needs equal heads and MLP widths in every block; set scan=False for this "
            "architecture."
        )
    policy = None if remat else jax.checkpoint_policies.save_only_these_names(*KEPT)
    step = nn.remat(_ScanStep, prevent_cse=False, policy=policy)
    scanned = nn.scan(
        step,
        variable_axes=STACKED,
        split_rngs={"params": True},
        in_axes=(
            nn.broadcast,
            *(nn.broadcast if stacked is None else 0 for stacked in (masks, keep)),
        ),
        length=len(kinds),
    )
    return scanned(kind, kinds[0], grid, name="blocks")(x, embed_mask, masks, keep)[0]


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
        keep: Float[Array, "depth 2 n"] | None = None,
    ) -> Float[Array, "n tokens embed"]:
        """Apply the blocks; `masks` has `embed` (embed,) and, stacked over blocks, what `Block`
        takes.
        """
        embed_mask, of_blocks = (
            (None, None)
            if masks is None
            else (masks["embed"], {k: v for k, v in masks.items() if k != "embed"})
        )
        return stack(
            [dict(kind) for kind in self.kinds],
            x,
            grid,
            embed_mask,
            of_blocks,
            keep,
            scan=self.scan,
            remat=self.remat,
        )


def alike(depth: int, **kind: Any) -> tuple[Any, ...]:
    """`Stage.kinds` for that many blocks of one kind, hashable as a module's fields have to be."""
    return (tuple(kind.items()),) * depth
