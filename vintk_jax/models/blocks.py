"""Transformer blocks, and stacks of them.

A stack is unrolled, or scanned: one traced block over stacked parameters. A mask can switch a block
off, whatever its kind.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.attention import Attention
from vintk_jax.models.layers import LayerNorm, Mlp
from vintk_jax.models.patch_embed import Grid

# What a scanned block stores for its backward pass. The rest (norms, GELU, softmax's inputs) is
# cheap to recompute, and much of what the loop would store would cost more to write and read.
KEPT = ("qkv", "attention", "context", "middle", "preactivation")

# A scan over blocks gives each its own parameters, and its own entries of this collection, in which
# `ntk.structured` stores what it measures of each layer. For others it is empty.
TAPS = "taps"
STACKED = {"params": 0, TAPS: 0}


def skip_if_dead(
    residuals: Callable[..., Array], block: nn.Module, x: Array, masks: Mapping[str, Array] | None
) -> Array:
    """What a block makes of x: x itself where its mask `alive` is 0.

    A dead block is skipped by `lax.cond`. Under `vmap` both branches run; under `lax.map` on one
    device only the live one runs.

    Args:
        residuals: (block, x, mask of heads, mask of hidden units) -> output of the live block.
        masks: `alive` (), `heads` and `hidden` of the block; None for an ordinary block.
    """
    if masks is None:
        return residuals(block, x, None, None)

    def live(block, x):
        return residuals(block, x, masks["heads"], masks["hidden"])

    def dead(block, x):
        return x

    return nn.cond(masks["alive"] > 0, live, dead, block, x)


def drop_path(
    y: Float[Array, "n tokens embed"], mask: Float[Array, "2 n"] | None, residual: int
) -> Float[Array, "n tokens embed"]:
    """A residual under stochastic depth: each sample's multiplied by its number in the mask."""
    return y if mask is None else y * mask[residual][:, None, None].astype(y.dtype)


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
        drop_path_mask: Float[Array, "2 n"] | None = None,
    ) -> Float[Array, "n tokens embed"]:
        """Apply the block; a dead one is skipped (`skip_if_dead`).

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


class _ScanStep(nn.Module):
    """A block in the shape that `nn.scan` wants: carry in, (carry, output) out.

    Attributes:
        kind, fields: the block's class and its attributes.
        block_name: the block's name.
        static: the block's arguments behind x that aren't arrays.
    """

    kind: type[nn.Module]
    fields: Mapping[str, Any]
    block_name: str
    static: tuple[Any, ...]

    @nn.compact
    def __call__(self, x, *arguments):
        block = self.kind(**self.fields, name=self.block_name)
        return block(x, *self.static, *arguments), None


def scan_blocks(
    kind: type[nn.Module],
    fields: Mapping[str, Any],
    depth: int,
    x: Array,
    arguments: Sequence[Any],
    *,
    stacked: Sequence[bool],
    remat: bool,
    static: tuple[Any, ...] = (),
    stored: Sequence[str] | None = KEPT,
    block_name: str = "block",
) -> Array:
    """Equal blocks one after another, as one traced block over stacked parameters (`blocks`).

    A submodule of the compact method that calls this. A block is called with x, `static`,
    `arguments`.

    Args:
        kind, fields: the block's class and its attributes.
        arguments: arrays, trees of arrays, or None.
        stacked: for each argument, whether it has a first axis of blocks; the others are shared.
        remat: recompute activations in the backward pass instead of storing them.
        static: arguments that aren't arrays, as a token grid.
        stored: names of the activations that are stored without `remat`; None: all.
        block_name: of the block within `blocks`.
    """
    step = _ScanStep
    if remat or stored is not None:
        policy = None if remat else jax.checkpoint_policies.save_only_these_names(*stored)
        step = nn.remat(_ScanStep, prevent_cse=False, policy=policy)
    axes = tuple(
        0 if has_axis and argument is not None else nn.broadcast
        for argument, has_axis in zip(arguments, stacked, strict=True)
    )
    scanned = nn.scan(
        step,
        variable_axes=STACKED,
        split_rngs={"params": True},
        in_axes=axes,
        length=depth,
    )
    return scanned(kind, fields, block_name, static, name="blocks")(x, *arguments)[0]


def stack(
    kinds: Sequence[Mapping[str, Any]],
    x: Float[Array, "n tokens embed"],
    grid: tuple[int, ...],
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


def mask_of_block(masks: Mapping[str, Array] | None, i: int) -> dict[str, Array] | None:
    """The masks of one block out of masks stacked over blocks."""
    return None if masks is None else {name: mask[i] for name, mask in masks.items()}


def split_masks(
    masks: Mapping[str, Any] | None, shared: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Masks of a model or stage as a whole, named in `shared`, and those of its blocks.

    Without masks: an empty dict and None.
    """
    if masks is None:
        return {}, None
    of_whole = {name: mask for name, mask in masks.items() if name in shared}
    of_blocks = {name: mask for name, mask in masks.items() if name not in shared}
    return of_whole, of_blocks


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
