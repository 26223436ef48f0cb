"""The weight matrices of a network, layer by layer, whether its blocks are scanned or not."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# the name under which a scanned stack keeps its blocks' parameters, with a leading axis of blocks
STACKED = "blocks"


def matrices(params: dict) -> dict[str, Float[Array, "layers inputs outputs"]]:
    """Kernels of linear layers and convolutions by path, each with a leading axis of the layers
    that share the path.

    Biases, norms, tokens and positions are left out, as the saliency proxies' sources do. A
    convolution's kernel is flattened to (inputs, outputs).
    """
    kernels = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = [str(part.key) for part in path]
        if names[-1] == "kernel" and leaf.ndim >= 2:
            layers = leaf.shape[0] if STACKED in names else 1
            kernels["/".join(names)] = leaf.reshape(layers, -1, leaf.shape[-1])
    return kernels


def total(function: Callable[..., Float[Array, " layers"]], *trees: dict) -> Float[Array, ""]:
    """The sum over layers of `function(kernels, ...)`, given the kernels of one path in each tree,
    (layers, inputs, outputs).
    """
    listed = [matrices(tree) for tree in trees]
    return sum(jnp.sum(function(*(kernels[path] for kernels in listed))) for path in listed[0])
