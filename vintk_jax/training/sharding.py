"""Where parameters and batches lie on a mesh of devices: rules on parameters' names.

The mesh has the axes data (copies of the model), fsdp (parameters cut up, gathered where they are
used) and tensor (products cut up); each may be 1. Batches are spread over data and fsdp. What
doesn't divide is replicated.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vintk_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")
BATCH = PartitionSpec(("data", "fsdp"))

# The last dimensions of a parameter whose path matches; the first rule that does holds. Scanned
# stacks have the blocks ahead, never cut.
RULES: tuple[tuple[str, tuple[str | None, ...]], ...] = (
    (r"(qkv|fc1)/kernel$", ("fsdp", "tensor")),
    (r"(qkv|fc1)/bias$", ("tensor",)),
    (r"(proj|fc2)/kernel$", ("tensor", "fsdp")),
    (r"patch_embed/kernel$", ("fsdp",)),
    (r"positions/table$", ("fsdp",)),
    (r"head/kernel$", ("fsdp", None)),
)


def cpu_alone() -> bool:
    """Whether this is one process without an accelerator: its CPU devices are parts of one
    machine, of which a training may leave some out.
    """
    return jax.default_backend() == "cpu" and jax.process_count() == 1


def make_mesh(data: int, fsdp: int, tensor: int, cpu_devices: int = 0) -> Mesh:
    """A mesh of those sizes; data=-1 takes what the others leave.

    Args:
        cpu_devices: what data=-1 takes where there is no accelerator, and one process; 0: all.

    Raises:
        UserError: if the sizes don't multiply to the number of devices.
    """
    count = jax.device_count()
    rest = fsdp * tensor
    if data == -1 and rest == 1 and cpu_alone():
        data = cpu_devices or count
    if cpu_alone() and 0 < data * rest < count:
        count = data * rest
    if data == -1 and rest > 0 and count % rest == 0:
        data = count // rest
    if min(data, fsdp, tensor) < 1 or data * rest != count:
        raise UserError(
            f"Expected a mesh whose product is {count}, the number of devices, got data={data} x "
            f"fsdp={fsdp} x tensor={tensor}."
        )
    return jax.make_mesh(
        (data, fsdp, tensor), AXES, axis_types=(AxisType.Auto,) * 3, devices=jax.devices()[:count]
    )


def shares(mesh: Mesh) -> bool:
    """Whether CPU devices of one process share each batch, and each has all parameters.

    A step is then written for one device's part (`over_parts`): narrow models' operations are
    small, and a core that has its own part waits for the other once a step. XLA, left to cut a
    whole batch's step up by itself, took 0.9 to 2.3 times as long, mostly more than 1.1 times (ten
    pairs of models and pieces, once, by a script that wasn't kept).
    """
    return cpu_alone() and mesh.size > 1 and mesh.shape["data"] == mesh.size


def over_parts(function: Callable[[Any, Any], Any], mesh: Mesh) -> Callable[[Any, Any], Any]:
    """A function of (what all devices have, a batch), run by each device on its part of the batch.
    What it gives has to be the same on all, as a sum over the mesh's axes is.
    """
    everywhere = PartitionSpec()
    return jax.shard_map(
        function, mesh=mesh, in_specs=(everywhere, BATCH), out_specs=everywhere, check_vma=False
    )


def spec_of(path: str, shape: tuple[int, ...], sizes: dict[str, int]) -> PartitionSpec:
    """How a parameter of that path and shape is cut, on a mesh whose axes have these sizes."""
    for pattern, axes in RULES:
        if re.search(pattern, path) and len(axes) <= len(shape):
            wanted = (None,) * (len(shape) - len(axes)) + axes
            return PartitionSpec(
                *(
                    a if a and sizes[a] > 1 and length % sizes[a] == 0 else None
                    for a, length in zip(wanted, shape)
                )
            )
    return PartitionSpec()


def shardings(mesh: Mesh, tree: Any) -> Any:
    """A `NamedSharding` for every leaf of a tree of arrays or shapes: optimiser states hold
    parameters' names in their paths too.
    """
    sizes = dict(mesh.shape)

    def of_leaf(path, leaf):
        names = "/".join(
            str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part))))
            for part in path
        )
        return NamedSharding(mesh, spec_of(names, leaf.shape, sizes))

    return jax.tree_util.tree_map_with_path(of_leaf, tree)


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's part of a global batch, on its devices."""
    return {
        key: jax.make_array_from_process_local_data(NamedSharding(mesh, BATCH), value)
        for key, value in batch.items()
    }


def replicate(mesh: Mesh, tree: Any) -> Any:
    """A tree that every process holds, on all devices."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(everywhere, np.asarray(leaf)), tree
    )


def check_batch(mesh: Mesh, batch_size: int, pieces: int) -> None:
    """Refuse a batch that can't be spread evenly.

    Raises:
        UserError: naming what it would have to be a multiple of.
    """
    over = math.prod(mesh.shape[axis] for axis in BATCH[0])
    if batch_size < 1 or batch_size % (over * pieces):
        raise UserError(
            f"Expected a batch of a multiple of {over * pieces} images ({over} shard(s) of data x "
            f"fsdp, {pieces} piece(s) each), got {batch_size}."
        )
