"""The shapes of an architecture's blocks: what counts of size are made of.

They are read from a trace of the model, in which every MLP and every attention is seen with its
block, so that a space has them without saying anything.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from vintk_jax.errors import UserError
from vintk_jax.models.layers import Mlp


class Heads(NamedTuple):
    """One attention: how many heads, and how wide each is."""

    num_heads: int
    head_dim: int


class BlockShape(NamedTuple):
    """One transformer block.

    Attributes:
        embed: width of its tokens.
        hidden: width of its MLP.
        attentions: usually one; none for a block that mixes tokens otherwise.
    """

    embed: int
    hidden: int
    attentions: tuple[Heads, ...]


@functools.lru_cache(maxsize=100_000)
def traced_blocks(space: Any, arch: Any) -> tuple[BlockShape, ...]:
    """The blocks of `space.model(arch)` in the order in which they run; a module with an `Mlp` of
    ours is a block, whatever else has `num_heads` and `head_dim` in it is an attention.

    Raises:
        UserError: for a model without such blocks.
    """
    model = space.model(arch, space.cost_size[0])
    mlps: dict[tuple[str, ...], tuple[int, int]] = {}
    attentions: dict[tuple[str, ...], dict[str, Heads]] = {}

    def intercept(call, args, kwargs, context):
        module = context.module
        if context.method_name == "__call__" and module.path:
            *block, name = module.path
            if isinstance(module, Mlp):
                mlps[tuple(block)] = (args[0].shape[-1], module.hidden)
            elif hasattr(module, "num_heads") and hasattr(module, "head_dim"):
                heads = Heads(module.num_heads, module.head_dim)
                attentions.setdefault(tuple(block), {})[name] = heads
        return call(*args, **kwargs)

    image = jax.ShapeDtypeStruct((1, *space.input_shape()), jnp.float32)
    with nn.intercept_methods(intercept):
        jax.eval_shape(model.init, jax.random.key(0), image)
    if not mlps:
        raise UserError(
            f"The models of {space.name} have no block with an MLP of vintk_jax.models, so counts "
            "of blocks don't know their shapes. Override `blocks`, or leave these counts out."
        )
    return tuple(
        BlockShape(embed, hidden, tuple(attentions.get(block, {}).values()))
        for block, (embed, hidden) in mlps.items()
    )
