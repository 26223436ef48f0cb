"""Counts of an architecture's blocks: what a reviewer would rank by, without any network.
What the whole architecture costs stands in `costs`.

A score that is made of a network has to be better than these. More is better.
"""

import math
from collections.abc import Callable
from typing import Any

from vintk_jax.proxies.base import Proxy
from vintk_jax.spaces.block_shapes import BlockShape


def width_ratio(p: float, q: float) -> Callable[[Any, Any], float]:
    """The count sum over blocks of width^p ratio^q, where the ratio is the MLP's hidden width over
    the block's width. Our choice of a family that holds the usual counts.
    """

    def count(space: Any, arch: Any) -> float:
        return sum(
            block.embed**p * (block.hidden / block.embed) ** q for block in space.blocks(arch)
        )

    return count


def log_hidden(space: Any, arch: Any) -> float:
    """Sum over blocks of the logarithm of the MLP's hidden width: what an entropy of tokens counts
    when nothing is measured. Our choice.
    """
    return sum(math.log(block.hidden) for block in space.blocks(arch))


def spectral_capacity(rows: int, columns: int, deviation: float) -> float:
    """Expected ln det(I + W'W) of a matrix of independent normal entries, by the law of Marchenko
    and Pastur (NSC, arXiv 2609.23087; its integral in closed form: Verdu and Shamai 1999).

    Args:
        rows, columns: of W.
        deviation: standard deviation of its entries.
    """
    most = max(rows, columns)
    least = min(rows, columns)
    ratio = least / most
    power = deviation**2 * most
    edges = [math.sqrt(power * (1 + side * math.sqrt(ratio)) ** 2 + 1) for side in (1, -1)]
    f = (edges[0] - edges[1]) ** 2 / 4
    of_least = ratio * math.log(1 + power - f)
    return most * (of_least + math.log(1 + power * ratio - f) - f / power)


def nsc_of_block(block: BlockShape, deviation: Callable[[int, int], float] | None = None) -> float:
    """Neural Spectral Capacity of one block: queries, keys and values of each head, the projection
    behind the heads, and both layers of the MLP (arXiv 2609.23087).

    Args:
        deviation: of a matrix of so many rows and columns; None: Xavier's, sqrt(2 / (m + n)).
    """

    def capacity(rows: int, columns: int) -> float:
        of = math.sqrt(2 / (rows + columns)) if deviation is None else deviation(rows, columns)
        return spectral_capacity(rows, columns, of)

    total = 2 * capacity(block.embed, block.hidden)
    for heads, width in block.attentions:
        total += 3 * heads * capacity(block.embed, width)
        total += capacity(heads * width, block.embed)
    return total


def nsc(space: Any, arch: Any) -> float:
    """Neural Spectral Capacity (arXiv 2609.23087): the sum over blocks, matrices drawn as Xavier
    has it, one of the paper's conventions.
    """
    return sum(nsc_of_block(block) for block in space.blocks(arch))


COUNT_PROXIES = (
    Proxy.of_architecture("width_depth", width_ratio(1.0, 0.0)),
    Proxy.of_architecture("root_width", width_ratio(0.5, 0.0)),
    Proxy.of_architecture("log_hidden", log_hidden),
    Proxy.of_architecture("nsc", nsc),
)
