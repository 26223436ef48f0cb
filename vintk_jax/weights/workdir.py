"""A workdir as a training leaves it, made without a training: checkpoints of other people's
weights, and the names of their classes.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from vintk_jax import system_errors
from vintk_jax.errors import UserError
from vintk_jax.tasks.model_spec import ModelSpec
from vintk_jax.workdir.checkpoints import BEST, LAST, Checkpoints, checksum
from vintk_jax.workdir.state import State

_NO_OPTIMIZER = {"none": np.int32(0)}
_RECORD = {"model", "checksums", "classes"}  # what an import's says; a training's says more
_STEP = "0"  # an import's only one
_UNFINISHED = ".orbax-checkpoint-tmp"  # orbax puts it behind the name of a step until it is whole


def class_names(where: str, described: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Names of a model's outputs: the lines of a file, else what Hugging Face's config.json says,
    else numbers.

    Raises:
        UserError: for a file that isn't there or has another number of lines.
    """
    if where:
        try:
            names = tuple(
                line.strip()
                for line in Path(where).expanduser().read_text().splitlines()
                if line.strip()
            )
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"Expected a text with a name on each line in classes={where}, but it can't be "
                f"read ({error})."
            ) from error
        if len(names) != count:
            raise UserError(f"{where} has {len(names)} names; the weights have {count} classes.")
        return names
    known = described.get("id2label")
    if (
        isinstance(known, dict)
        and len(known) == count
        and all(str(i) in known for i in range(count))
    ):
        return tuple(str(known[str(i)]) for i in range(count))
    return tuple(map(str, range(count)))


def write_checkpoints(
    workdir: Path, spec: ModelSpec, params: Any, classes: tuple[str, ...]
) -> bool:
    """Write the best and the last checkpoint, at step 0, without an optimiser: no training goes on
    from them.

    Checkpoints that were imported before, from other weights or with other classes, are replaced.
    Other files beside them stay. Both folders are examined before anything is written.

    Returns:
        Whether others were replaced.

    Raises:
        UserError: where something was trained, or where nothing proves that it wasn't.
    """
    state = State(jnp.int32(0), params, _NO_OPTIMIZER, None)
    wanted = {"classes": list(classes), "checksum": checksum(params)}
    folders = {kind: workdir / "checkpoints" / kind for kind in (BEST, LAST)}
    there = {kind: _imported(folder) for kind, folder in folders.items()}
    replaced = False
    for kind, folder in folders.items():
        if there[kind] not in (None, wanted):
            _remove(folder)
            replaced = True
        checkpoints = Checkpoints(folder, spec.describe())
        checkpoints.save(state, classes=list(classes))
        checkpoints.close()
    return replaced


def _imported(folder: Path) -> dict[str, Any] | None:
    """Classes and checksum of the checkpoint that was imported into a folder. None without any, and
    for one that a killed run left unfinished (orbax removes it).

    Raises:
        UserError: where something was trained, or a record can't be read.
    """
    try:
        names = [child.name for child in folder.iterdir()]
    except FileNotFoundError:
        return None
    steps = [name for name in names if name.partition(_UNFINISHED)[0].isdecimal()]
    finished = [name for name in steps if name.isdecimal()]
    if any(name.partition(_UNFINISHED)[0] != _STEP for name in steps):
        raise _trained(folder)
    if not finished:
        return None
    record = folder / _STEP / "meta" / "metadata"
    try:
        meta = json.loads(record.read_text())
        sums = meta["checksums"]
        known = {"classes": meta["classes"], "checksum": sums["params"]}
        ours = (
            set(meta) == _RECORD
            and set(sums) == {"params", "optimizer"}
            and sums["optimizer"] == checksum(_NO_OPTIMIZER)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        if system_errors.may_pass(error):
            raise UserError(
                f"The record {record} couldn't be read: "
                f"{system_errors.explained(error) or error} The checkpoint was left as it is; the "
                "same command tries again."
            ) from error
        raise UserError(
            f"Expected the record of imported weights in {record}, got {type(error).__name__} "
            f"{error}. The checkpoint may be a training's and was left as it is. Choose another "
            f"--workdir, or move {folder} away."
        ) from error
    if not ours:
        raise _trained(folder)
    return known


def _trained(folder: Path) -> UserError:
    return UserError(
        f"{folder} holds checkpoints of a training; weights are not put in their place. Choose "
        "another --workdir."
    )


def _remove(folder: Path) -> None:
    """Remove the imported checkpoint, and nothing else of the folder.

    It gets the name of an unfinished one first. If this process is killed then, the next run
    removes the rest and doesn't take it for a damaged checkpoint.
    """
    aside = folder / f"{_STEP}{_UNFINISHED}"
    if aside.exists():
        shutil.rmtree(aside)
    os.replace(folder / _STEP, aside)
    shutil.rmtree(aside)
