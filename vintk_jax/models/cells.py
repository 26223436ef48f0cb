"""Networks of convolutional cells: NAS-Bench-201's (Dong and Yang 2020, arXiv 2001.00326), the
control beside the vision transformers.

Batch normalisation, which mixes samples, is replaced by the instance normalisation of
`models.channel_norm`, which says why.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vintk_jax.models.channel_norm import ChannelNorm, Norm
from vintk_jax.models.convolution import by_product
from vintk_jax.models.layer_decay import Layers, stages
from vintk_jax.models.layers import conv_init
from vintk_jax.models.stacking import scan_blocks

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
# from node to node of a cell; 0 is its input, 3 its output
EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
SIDES = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}

_conv = partial(nn.Conv, use_bias=False, kernel_init=conv_init, conv_general_dilated=by_product)

Maps = Float[Array, "n height width channels"]
Others = Float[Array, "n rows columns features"]


def average_pool(x: Maps) -> Maps:
    """Mean over 3 x 3 neighbours, stride 1; at a border over those that exist (the source's
    `count_include_pad=False`).
    """
    for axis in (1, 2):
        extent = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if a == axis else (0, 0) for a in range(4)])

        def window(start, axis=axis, padded=padded, extent=extent):
            return jax.lax.slice_in_dim(padded, start, start + extent, axis=axis)

        neighbours = np.minimum(np.arange(extent) + 2, extent) - np.maximum(
            np.arange(extent) - 1, 0
        )
        shape = [-1 if a == axis else 1 for a in range(4)]
        x = (window(0) + window(1) + window(2)) / jnp.asarray(neighbours.reshape(shape), x.dtype)
    return x


class ReluConvNorm(nn.Module):
    """ReLU, a convolution without bias, normalisation.

    Attributes:
        features: output channels.
        side: of the kernel, in pixels.
        norm: see `ChannelNorm.over`.
        stride: of the kernel, in pixels.
    """

    features: int
    side: int
    norm: Norm
    stride: int = 1

    @nn.compact
    def __call__(self, x: Maps, alive: Float[Array, ""] | None = None) -> Others:
        """Apply the layer.

        Args:
            alive: 0 where the result isn't used. It changes nothing here; scores that count
                activations read it.
        """
        conv = _conv(
            self.features, (self.side,) * 2, self.stride, padding=self.side // 2, name="conv"
        )
        return ChannelNorm(self.norm, name="norm")(conv(nn.relu(x)))


class Edge(nn.Module):
    """The operations between two nodes.

    Attributes:
        operations: those that exist here; without a mask all of them count.
        features: channels.
        norm: see `ChannelNorm.over`.
    """

    operations: tuple[str, ...]
    features: int
    norm: Norm

    def setup(self):
        for name in self.operations:
            if name in SIDES:
                setattr(self, name, ReluConvNorm(self.features, SIDES[name], self.norm))

    def __call__(self, x: Maps, mask: Float[Array, " operations"] | None = None) -> Maps:
        """Apply the operations, or the one that the mask has a 1 for (the first one where it has
        none).

        The others are skipped by `lax.switch`. Under `vmap` all branches run; under `lax.map` on
        one device only the live one runs. A branch stores nothing for its backward pass and
        computes its inside again: what one branch stores, all would have to write.
        """
        if mask is None:
            return sum(_operate(self, x, name=name) for name in self.operations)
        branches = [
            nn.remat(partial(_operate, name=name, alive=mask[i]), prevent_cse=False)
            for i, name in enumerate(self.operations)
        ]
        return nn.switch(jnp.argmax(mask), branches, self, x)


def _operate(edge: Edge, x: Maps, *, name: str, alive: Float[Array, ""] | None = None) -> Maps:
    """One operation of an edge."""
    if name in SIDES:
        return getattr(edge, name)(x, alive)
    if name == "skip_connect":
        return x
    return {"none": jnp.zeros_like, "avg_pool_3x3": average_pool}[name](x)


class Cell(nn.Module):
    """Four nodes, each the sum over the edges that lead to it; the last one is the output.

    Attributes:
        operations: those that exist, edge by edge as in `EDGES`.
        norm: see `ChannelNorm.over`.
    """

    operations: tuple[tuple[str, ...], ...]
    norm: Norm

    @nn.compact
    def __call__(self, x: Maps, mask: Float[Array, "edges operations"] | None = None) -> Maps:
        nodes = [x]
        for node in range(1, 4):
            into = [i for i, (_, target) in enumerate(EDGES) if target == node]

            def edge(i):
                return Edge(self.operations[i], x.shape[-1], self.norm, name=f"edge_{i}")(
                    nodes[EDGES[i][0]], None if mask is None else mask[i]
                )

            nodes.append(sum(map(edge, into)))
        return nodes[-1]


class Stage(nn.Module):
    """Equal cells one after another.

    Attributes:
        operations, norm: see `Cell`.
        count: cells.
        scan: one traced cell over stacked parameters (named `blocks`), instead of one for each
            (`cell_i`).
        remat: recompute a cell's nodes in the backward pass instead of keeping them.
    """

    operations: tuple[tuple[str, ...], ...]
    norm: Norm
    count: int
    scan: bool = False
    remat: bool = False

    @nn.compact
    def __call__(self, x: Maps, mask: Float[Array, "edges operations"] | None = None) -> Maps:
        if self.scan:
            fields = {"operations": self.operations, "norm": self.norm}
            return scan_blocks(
                Cell,
                fields,
                self.count,
                x,
                (mask,),
                stacked=(False,),
                remat=self.remat,
                stored=None,
                block_name="cell",
            )
        cell = nn.remat(Cell) if self.remat else Cell
        for i in range(self.count):
            x = cell(self.operations, self.norm, name=f"cell_{i}")(x, mask)
        return x


class Reduction(nn.Module):
    """The residual block between two stages: half the sides, other channels.

    Attributes:
        features: output channels.
        norm: see `ChannelNorm.over`.
    """

    features: int
    norm: Norm

    @nn.compact
    def __call__(self, x: Maps) -> Others:
        y = ReluConvNorm(self.features, 3, self.norm, stride=2, name="first")(x)
        y = ReluConvNorm(self.features, 3, self.norm, name="second")(y)
        beside = nn.avg_pool(x, (2, 2), (2, 2))
        return y + _conv(self.features, (1, 1), name="beside")(beside)


class CellNet(nn.Module):
    """Stem, stages of cells with reductions between them, and a classifier that reads the mean over
    all places.

    Weights start as in PyTorch (uniform, by the number of inputs), whose defaults the benchmark was
    trained from.

    Attributes:
        operations: those that exist, edge by edge as in `EDGES`: one each for an architecture, all
            for a supernet.
        channels: of each stage.
        count: cells of each stage.
        num_classes: outputs.
        norm: see `ChannelNorm.over`.
        scan, remat: see `Stage`.
    """

    operations: tuple[tuple[str, ...], ...]
    channels: tuple[int, ...] = (16, 32, 64)
    count: int = 5
    num_classes: int = 1000
    norm: Norm = "places"
    scan: bool = False
    remat: bool = False

    @property
    def layers(self) -> Layers:
        """See `models.layer_decay`."""
        cells = stages((self.count,) * len(self.channels), self.scan, ("reduction",), "cell")
        return (("stem", "stem_norm"), *cells, ("norm", "head"))

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n height width channels"],
        masks: dict[str, Float[Array, "edges operations"]] | None = None,
    ) -> Float[Array, "n classes"]:
        """Logits of a batch of images.

        Args:
            images: any number of channels at initialisation, that number afterwards; sides that
                divide by two for each reduction.
            masks: `ops`, a 1 for the operation of each edge; None: all that exist, added up, as an
                architecture has one.
        """
        mask = None if masks is None else masks["ops"]
        x = _conv(self.channels[0], (3, 3), padding=1, name="stem")(images)
        x = ChannelNorm(self.norm, name="stem_norm")(x)
        for i, features in enumerate(self.channels):
            if i:
                x = Reduction(features, self.norm, name=f"reduction_{i}")(x)
            stage = Stage(
                self.operations, self.norm, self.count, self.scan, self.remat, name=f"stage_{i}"
            )
            x = stage(x, mask)
        x = nn.relu(ChannelNorm(self.norm, name="norm")(x)).mean(axis=(1, 2))
        return nn.Dense(self.num_classes, kernel_init=conv_init, name="head")(x)
