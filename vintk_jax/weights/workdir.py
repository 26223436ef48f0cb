"""A workdir as a training leaves it, without one: checkpoints of weights as they came, and the
names of their classes.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.training.checkpoints import BEST, LAST, Checkpoints, checksum
from vintk_jax.training.models import Trained
from vintk_jax.training.step import State

_NO_OPTIMIZER = {"none": np.int32(0)}


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
                f"classes={where} can't be read ({error}); a text with a name on each line was "
                "wanted."
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
    workdir: Path, trained: Trained, params: Any, classes: tuple[str, ...]
) -> bool:
    """The best and the last, at step 0, without an optimiser: nothing goes on training from them.

    Checkpoints that came in the same way from other weights, or with other classes, are replaced.

    Returns:
        Whether others were replaced.

    Raises:
        UserError: where something was trained.
    """
    state = State(jnp.int32(0), params, _NO_OPTIMIZER, None)
    wanted = {"classes": list(classes), "checksum": checksum(params)}
    replaced = False
    for kind in (BEST, LAST):
        folder = workdir / "checkpoints" / kind
        there = _imported(folder)
        if there not in (None, wanted):
            shutil.rmtree(folder)
            replaced = True
        checkpoints = Checkpoints(folder, 1, trained.describe())
        checkpoints.save(state, classes=list(classes))
        checkpoints.close()
    return replaced


def _imported(folder: Path) -> dict[str, Any] | None:
    """Classes and checksum of the checkpoint that was imported into a folder; None without any.

    Raises:
        UserError: where something was trained.
    """
    steps = sorted(child.name for child in folder.glob("[0-9]*") if child.name.isdigit())
    if not steps:
        return None
    try:
        meta = json.loads((folder / steps[0] / "meta" / "metadata").read_text())
        trained = steps != ["0"] or meta["checksums"]["optimizer"] != checksum(_NO_OPTIMIZER)
        known = {"classes": meta["classes"], "checksum": meta["checksums"]["params"]}
    except (OSError, ValueError, KeyError):
        return {}  # one that a killed run left unfinished
    if trained:
        raise UserError(
            f"{folder} holds checkpoints of a training; weights are not put in their place. Choose "
            "another --workdir."
        )
    return known
