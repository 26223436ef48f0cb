"""The architecture that a search found: read from its best.json, kept in a training's workdir."""

import json
from pathlib import Path
from typing import Any

import ml_collections

from vintk_jax import spaces
from vintk_jax.errors import UserError
from vintk_jax.files import write_atomically

KEPT = "arch.json"  # in a workdir: the search's best.json


def keep_arch(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Copy the architecture that a `model` section names into the workdir, so that predicting
    doesn't need the search's.

    Raises:
        UserError: where another architecture is kept already: what was trained is of that one.
    """
    if not config.arch:
        return
    kept = workdir / KEPT
    if kept.exists() and read_best(str(kept)) != read_best(config.arch):
        raise UserError(
            f"{workdir} holds a model of another architecture than {config.arch} is now (a search "
            f"that goes on finds a better one); that is kept as {kept}. Choose another --workdir, "
            f"or go on with --config.model.arch={kept}."
        )
    write_atomically(kept, Path(config.arch).expanduser().read_bytes())


def with_kept_arch(config: ml_collections.ConfigDict, workdir: Path) -> ml_collections.ConfigDict:
    """A `model` section that names the workdir's copy."""
    if not config.arch:
        return config
    config = ml_collections.ConfigDict(config)
    config.arch = str(workdir / KEPT)
    return config


def read_best(where: str) -> tuple[spaces.SearchSpace, Any]:
    """The space and architecture of a search's best.json.

    Raises:
        UserError: for a file that isn't there or isn't one.
    """
    path = Path(where).expanduser()
    try:
        best = json.loads(path.read_text())
        space = best["space"]
        fields = best["arch"]
    except FileNotFoundError as error:
        raise UserError(
            f"model.arch={where} came, but there is no such file. `python -m vintk_jax.search` "
            "writes one, best.json."
        ) from error
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"Expected a best.json, an object with space and arch, got {path}: "
            f"{type(error).__name__} {error}."
        ) from error
    search_space = spaces.get(space)
    return search_space, search_space.from_json(fields)
