"""NAS-Bench-201 (Dong and Yang 2020, arXiv 2001.00326): convolutional cells, one of five operations
on each of six edges.

The control beside the vision transformers: the tangent kernel is said to rank CNNs. The networks
were trained on images of 32 pixels.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.models.cells import EDGES, OPERATIONS, SIDES, CellNet
from vintk_jax.models.channel_norm import Norm
from vintk_jax.spaces.base import Cost, InvalidArchitecture, SearchSpace
from vintk_jax.spaces.block_shapes import BlockShape
from vintk_jax.spaces.cutting import block_at


@dataclasses.dataclass(frozen=True)
class CellArch:
    """One architecture: the operation of each edge, in the order of `models.cells.EDGES`; all cells
    are alike.
    """

    ops: tuple[str, ...]


def _edge(i: int) -> str:
    return "edge_{}_{}".format(*EDGES[i])


@dataclasses.dataclass(frozen=True)
class CellSpace(SearchSpace):
    """What all members share: channels of each stage, cells of each stage, and the norm (see
    `models.channel_norm.ChannelNorm`).
    """

    channels: tuple[int, ...] = (16, 32, 64)
    count: int = 5
    norm: Norm = "places"

    def choices(self) -> dict[str, tuple]:
        """edge_a_b, the operation from node a to node b, of all six edges."""
        return {_edge(i): OPERATIONS for i in range(len(EDGES))}

    def decode(self, chosen: Mapping[str, Any]) -> CellArch:
        """Every decision counts, also where its node leads nowhere."""
        return CellArch(tuple(chosen[_edge(i)] for i in range(len(EDGES))))

    def encode(self, arch: CellArch) -> dict[str, Any]:
        """The inverse of `decode`."""
        return {_edge(i): op for i, op in enumerate(arch.ops)}

    def from_json(self, fields: Mapping[str, Any]) -> CellArch:
        """From {"ops": [...]}: operations of the edges 0-1, 0-2, 0-3, 1-2, 1-3, 2-3."""
        if "ops" not in fields:
            raise InvalidArchitecture(f"Expected ops for {self.name}, got one without ops.")
        ops = fields["ops"]
        if not isinstance(ops, list | tuple) or len(ops) != len(EDGES):
            edges = ", ".join(f"{a}-{b}" for a, b in EDGES)
            raise InvalidArchitecture(
                f"Expected for {self.name} a list of {len(EDGES)} operations, for the edges "
                f"{edges}, got ops={ops}."
            )
        for i, op in enumerate(ops):
            if op not in OPERATIONS:
                raise InvalidArchitecture(
                    f"Expected for {self.name} one of {', '.join(OPERATIONS)}, got ops[{i}]={op!r}."
                )
        return CellArch(tuple(ops))

    def to_json(self, arch: CellArch) -> dict[str, Any]:
        """To {"ops": [...]}."""
        return {"ops": list(arch.ops)}

    def cost(self, arch: CellArch, image_size: int = 224, num_classes: int = 1000) -> Cost:
        """Parameters, and multiply-adds of convolutions (borders as inner pixels) and the
        classifier; poolings have none.
        """
        side = _checked(self.name, image_size, len(self.channels))
        before = 0
        last = self.channels[-1]
        first = self.channels[0]
        params = 27 * first + 2 * first + 2 * last + (last + 1) * num_classes
        flops = side**2 * 27 * first + last * num_classes
        for c in self.channels:
            if before:
                side //= 2
                params += 9 * before * c + 9 * c * c + before * c + 4 * c
                flops += side**2 * (9 * before * c + 9 * c * c + before * c)
            for area in (SIDES[op] ** 2 for op in arch.ops if op in SIDES):
                params += self.count * (area * c * c + 2 * c)
                flops += self.count * side**2 * area * c * c
            before = c
        return Cost(params, flops)

    def blocks(self, arch: CellArch) -> tuple[BlockShape, ...]:
        """Each cell as a block of its channels, without attention: all architectures have the same
        ones, so that counts of blocks say nothing here.
        """
        return tuple(
            BlockShape(channels, channels, ())
            for channels in self.channels
            for _ in range(self.count)
        )

    def model(
        self, arch: CellArch, image_size: int = 224, in_channels: int = 3, num_classes: int = 1000
    ) -> CellNet:
        """The network of this architecture."""
        _checked(self.name, image_size, len(self.channels))
        return CellNet(
            tuple((op,) for op in arch.ops), self.channels, self.count, num_classes, self.norm
        )

    def supernet(self, image_size: int = 224, num_classes: int = 1000, **options: Any) -> CellNet:
        """All operations on all edges; the cells of a stage are scanned unless `scan=False`."""
        _checked(self.name, image_size, len(self.channels))
        return CellNet(
            (OPERATIONS,) * len(EDGES),
            self.channels,
            self.count,
            num_classes,
            self.norm,
            **{"scan": True, **options},
        )

    def masks(self, arch: CellArch) -> dict[str, np.ndarray]:
        """See `CellNet.__call__`."""
        return {
            "ops": np.array([[op == name for name in OPERATIONS] for op in arch.ops], np.float32)
        }

    def stem_masks(self, arch: CellArch) -> dict[str, np.ndarray]:
        """The network without its cells: each hands its input on (a skip connection from node 0 to
        node 3, nothing else).

        What is left is the stem, the reductions and the classifier, the same for all members.
        """
        return self.masks(
            CellArch(tuple("skip_connect" if edge == (0, 3) else "none" for edge in EDGES))
        )

    def subnet(self, params: dict, arch: CellArch) -> dict:
        """The operations that the architecture has; from a scanned supernet or one that isn't."""
        cut = {
            name: node for name, node in params["params"].items() if not name.startswith("stage_")
        }
        convolutions = {f"edge_{i}": op for i, op in enumerate(arch.ops) if op in SIDES}
        if not convolutions:
            return {"params": cut}
        for i in range(len(self.channels)):
            cells = {}
            for j in range(self.count):
                cell = block_at(params["params"][f"stage_{i}"], j, "cell")
                cells[f"cell_{j}"] = {
                    edge: {op: cell[edge][op]} for edge, op in convolutions.items()
                }
            cut[f"stage_{i}"] = cells
        return {"params": cut}

    def cheapest(self) -> CellArch:
        """No operation anywhere; of the networks without a convolution, which all cost the same,
        the first.
        """
        return CellArch((OPERATIONS[0],) * len(EDGES))

    def size(self) -> int:
        """Five operations on each of six edges."""
        return len(OPERATIONS) ** len(EDGES)

    def enumerate(self) -> Iterator[CellArch]:
        """By the operation of edge 0-1, then 0-2, and so on."""
        return map(CellArch, itertools.product(OPERATIONS, repeat=len(EDGES)))

    def width(self, arch: CellArch) -> int:
        """Channels of the last stage: the same for all, so a comparison within one width is one of
        all pairs.
        """
        return self.channels[-1]

    def total_depth(self, arch: CellArch) -> int:
        """Number of convolutions on the edges of a cell (our choice: the layers with weights)."""
        return sum(op in SIDES for op in arch.ops)


def _checked(name: str, image_size: int, stages: int) -> int:
    factor = 2 ** (stages - 1)
    if image_size < factor or image_size % factor:
        raise UserError(
            f"Expected for {name} an image size that is a multiple of {factor}, since its "
            f"reductions halve the sides, got inputs.image_size={image_size}."
        )
    return image_size


NASBENCH201 = CellSpace("nasbench201")
# The same architectures under the other norms, by import path: what the control depends on.
ONE_GROUP = CellSpace("nasbench201-one-group", norm="sample")
BATCH_HELD = CellSpace("nasbench201-batch-held", norm="batch")
