"""Cutting the weights of a supernet's transformer blocks down to those of one architecture: leading
columns of everything.
"""

import operator
from collections.abc import Mapping
from typing import Any

import jax

Params = Mapping[str, Any]


def block_at(stack: Params, index: int, name: str = "block") -> Params:
    """One block of a stack's parameters, be it scanned (`blocks`) or not (`block_i`); see
    `models.blocks.stack`.

    Args:
        name: of a block.
    """
    if "blocks" not in stack:
        return stack[f"{name}_{index}"]
    return jax.tree.map(operator.itemgetter(index), stack["blocks"][name])


def leading(params: Params, *sizes: int) -> dict[str, Any]:
    """The first entries along the last axes of every array: `sizes` for the last ones."""

    def cut(leaf):
        return leaf[(..., *(slice(size) for size in sizes[-leaf.ndim :]))]

    return jax.tree.map(cut, dict(params))


def leading_inputs(layer: Params, inputs: int) -> dict[str, Any]:
    """A linear layer that reads the first `inputs` columns."""
    return {"kernel": layer["kernel"][:inputs], "bias": layer["bias"]}


def cut_attention(
    attention: Params, embed: int, heads: int, head_dim: int, widest: tuple[int, int]
) -> dict[str, Any]:
    """A narrower `models.attention.Attention` or `models.grouped_attention.GroupedAttention`; sizes
    as in `cut_block`.
    """
    qkv = attention["qkv"]["kernel"].reshape(-1, 3, *widest)[:embed, :, :heads, :head_dim]
    bias = attention["qkv"]["bias"].reshape(3, *widest)[:, :heads, :head_dim]
    proj = attention["proj"]["kernel"].reshape(*widest, -1)[:heads, :head_dim, :embed]
    return {
        "qkv": {"kernel": qkv.reshape(embed, -1), "bias": bias.reshape(-1)},
        "proj": {"kernel": proj.reshape(-1, embed), "bias": attention["proj"]["bias"][:embed]},
        **{name: dict(table) for name, table in attention.items() if name.startswith("relative")},
    }


def cut_block(
    block: Params, embed: int, heads: int, head_dim: int, hidden: int, widest: tuple[int, int]
) -> dict[str, Any]:
    """A narrower `models.blocks.Block` or `models.clip_blocks.DividedBlock`.

    Args:
        embed, heads, head_dim, hidden: the sizes wanted.
        widest: heads and width of a head that there are.
    """

    def cut(name: str, part: Params) -> dict[str, Any]:
        if name.startswith("attention"):
            return cut_attention(part, embed, heads, head_dim, widest)
        if name == "mlp":
            return {
                "fc1": leading(part["fc1"], embed, hidden),
                "fc2": leading(part["fc2"], hidden, embed),
            }
        return leading(part, embed, embed)  # norms, and the linear layer behind attention over time

    return {name: cut(name, part) for name, part in block.items()}
