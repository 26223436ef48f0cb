"""A workdir as a training leaves it, without one: checkpoints of weights as they came, and the
names of their classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp

from vintk_jax.errors import UserError
from vintk_jax.training.checkpoints import BEST, LAST, Checkpoints
from vintk_jax.training.models import Trained
from vintk_jax.training.step import State


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
) -> None:
    """The best and the last, at step 0, without an optimiser: nothing goes on training from
    them.
    """
    state = State(jnp.int32(0), params, {"none": jnp.int32(0)}, None)
    for kind in (BEST, LAST):
        checkpoints = Checkpoints(workdir / "checkpoints" / kind, 1, trained.describe())
        checkpoints.save(state, classes=list(classes))
        checkpoints.close()
