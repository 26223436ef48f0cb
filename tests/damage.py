"""Damage to checkpoints that orbax doesn't notice.

A byte changed in one of its files is no such damage: which files it writes depends on the threads'
timing, and parts of them hold what nothing reads any more (tests/faults/test_fallbacks.py).
"""

import shutil
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp


def change_a_number(folder: Path) -> None:
    """Write the arrays in a folder of orbax's anew, with one number of the largest changed."""
    folder = folder.absolute()
    with ocp.PyTreeCheckpointer() as checkpointer:
        shapes = checkpointer.metadata(folder).item_metadata.tree
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
        tree = checkpointer.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
        leaves, structure = jax.tree.flatten(tree)
        largest = max(range(len(leaves)), key=lambda i: leaves[i].size)
        changed = np.array(leaves[largest])
        changed.reshape(-1)[0] += 1
        leaves[largest] = changed
        shutil.rmtree(folder)
        checkpointer.save(folder, args=ocp.args.PyTreeSave(jax.tree.unflatten(structure, leaves)))
