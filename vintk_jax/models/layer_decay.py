"""Which layer each weight of a model belongs to, counted from its input: what layer-wise decay of
the learning rate needs.

A model has a property `layers`: for each layer, from the embedding to the head, the names of its
modules. A name with slashes is a module within a module. A name in several layers is a scanned
stack, whose first axis runs over these layers.
"""

import jax
import numpy as np

from vintk_jax.errors import UserError

Layers = tuple[tuple[str, ...], ...]


def block_layers(depth: int, scan: bool, inside: str = "", of: str = "block") -> Layers:
    """One layer for each block that `blocks.stack` makes.

    Args:
        inside: the module that the blocks lie in; empty for the model itself.
        of: what a block that isn't scanned is called.
    """
    ahead = f"{inside}/" if inside else ""
    if scan:
        return ((f"{ahead}blocks",),) * depth
    return tuple((f"{ahead}{of}_{i}",) for i in range(depth))


def stages(
    depths: tuple[int, ...], scan: bool, between: tuple[str, ...], of: str = "block"
) -> Layers:
    """Layers of the stages `stage_0`, `stage_1` ...; what leads from one to the next, named
    `between` with the stage's number behind it, belongs to the first block after it.
    """
    layers: list[tuple[str, ...]] = []
    for i, depth in enumerate(depths):
        first, *rest = block_layers(depth, scan, f"stage_{i}", of)
        leading = tuple(f"{name}_{i}" for name in between) if i else ()
        layers += [(*leading, *first), *rest]
    return tuple(layers)


def places(layers: Layers, path: tuple[str, ...]) -> list[int]:
    """The layers that the weight of this path is in; several for a scanned stack.

    Raises:
        UserError: for a weight that no layer has.
    """
    weight = "/".join(path) + "/"
    holders = [
        i for i, names in enumerate(layers) if any(weight.startswith(f"{name}/") for name in names)
    ]
    if not holders:
        raise UserError(
            f"The model's `layers` name none for its weight {weight[:-1]}, so a rate for it isn't "
            "known. Add it there, or set optimizer.layer_decay=1."
        )
    return holders


def scales(params: dict, decay: int | float, layers: Layers) -> dict:
    """What a parameter's learning rate is multiplied by: decay^(layers above it), 1 for the head
    (BEiT, arXiv 2106.08254, section 3.2); of a scanned stack one number a block, shaped to
    multiply.

    Args:
        params: a tree of arrays or their shapes, under "params" or without it.

    Raises:
        UserError: for a weight that no layer has.
    """

    def scale(path, leaf):
        names = tuple(str(part.key) for part in path)
        holders = places(layers, names[1:] if names[0] == "params" else names)
        rates = np.float32([float(decay) ** (len(layers) - 1 - i) for i in holders])
        if len(holders) == 1:
            return rates[0]
        return rates.reshape(-1, *[1] * (leaf.ndim - 1))

    return jax.tree_util.tree_map_with_path(scale, params)
