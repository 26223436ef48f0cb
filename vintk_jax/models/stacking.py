"""What stacks of blocks of any kind share: masks that switch a block off, stochastic depth, and a
scan over depth.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

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
