"""The kernel of one architecture by layer: which blocks, and which kinds of layers, its gradients
come from.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from vintk_jax.report.style import colour_ramp

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTSIDE = "outside"  # the column of layers that belong to no block
OTHER = "other"
# Kinds that have a colour of their own; norms, positions and the rest are `OTHER`.
KINDS = ("qkv", "proj", "fc1", "fc2")


def shares_by_block(
    layers: Mapping[str, Float[np.ndarray, "... n n"]],
) -> tuple[list[str], dict[str, list[float]]]:
    """Each layer's share of the kernel's trace, by block and kind of layer.

    Args:
        layers: shares of the kernel by the layer's path, as `ntk.by_layer` gives them; blocks
            unrolled ("block_3/mlp/fc1") or scanned ("blocks/block/mlp/fc1", stacked).

    Returns:
        The columns: blocks, numbered from 1 in the order in which they run, without dead ones, then
        what is outside of blocks. And for each kind of layer a share for each column; all of them
        add up to 1.
    """
    by_place: dict[tuple[str, int], dict[str, float]] = {}
    for path, values in layers.items():
        traces = np.trace(np.asarray(values, np.float64), axis1=-2, axis2=-1)
        kind = path.rpartition("/")[2]
        kind = kind if kind in KINDS else OTHER
        scanned = re.search(r"(.*?)\bblocks/block/", path)
        unrolled = re.search(r"(.*?)\bblock_(\d+)/", path)
        if scanned:
            places = [(scanned[1], i) for i in range(len(traces))]
        elif unrolled:
            places = [(unrolled[1], int(unrolled[2]))]
        else:
            places = [(OUTSIDE, 0)]
        for place, trace in zip(places, np.atleast_1d(traces), strict=True):
            of_place = by_place.setdefault(place, {})
            of_place[kind] = of_place.get(kind, 0.0) + float(trace)
    columns = sorted(
        place for place in by_place if place[0] != OUTSIDE and sum(by_place[place].values())
    )
    if (OUTSIDE, 0) in by_place:
        columns.append((OUTSIDE, 0))
    whole = sum(sum(of_place.values()) for of_place in by_place.values()) or 1.0
    kinds = [kind for kind in (*KINDS, OTHER) if any(kind in by_place[c] for c in columns)]
    names = [OUTSIDE if place[0] == OUTSIDE else str(i) for i, place in enumerate(columns, start=1)]
    return names, {k: [by_place[place].get(k, 0.0) / whole for place in columns] for k in kinds}


def draw_layers(axes: "Axes", layers: Mapping[str, Float[np.ndarray, "... n n"]]) -> None:
    """A bar for each block, stacked of its kinds of layers: shares of the kernel's trace."""
    names, shares = shares_by_block(layers)
    places = np.arange(len(names))
    bottom = np.zeros(len(names))
    for (kind, values), colour in zip(shares.items(), colour_ramp(len(shares)), strict=True):
        axes.bar(places, values, bottom=bottom, color=colour, width=0.8, label=kind)
        bottom += values
    labelled = places if len(names) <= 16 else places[:: -(-len(names) // 16)]
    axes.set_xticks(labelled, [names[i] for i in labelled])
    axes.set(xlabel="block", ylabel="share of the trace")
    axes.grid(False, axis="x")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=len(shares))
