"""A trained assigner on disk: its weights by orbax, and a record of the model that it belongs to."""

import json
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from vintk_jax import config as configs
from vintk_jax.adaptive import assigners
from vintk_jax.errors import UserError
from vintk_jax.training.checkpoints import checksum

_RECORD, _WEIGHTS = "assigner.json", "assigner"


def save(folder: Path, params: Any, record: dict[str, Any]) -> None:
    """Write weights, then the record that makes them count."""
    (folder / _RECORD).unlink(missing_ok=True)
    shutil.rmtree(folder / _WEIGHTS, ignore_errors=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((folder / _WEIGHTS).absolute(), params)
    configs.write_json(folder / _RECORD, {**record, "checksum": checksum(params)})


def read(folder: Path, identity: str, features: int) -> tuple[dict[str, Any], Any, Any]:
    """The record, the module and its weights.

    Args:
        identity: of the model that it will be used with (`Predictor.identity`).
        features: how many numbers the shortest pass gives.

    Raises:
        UserError: when there is none, it can't be read, or it belongs to another model.
    """
    path = folder / _RECORD
    again = "Run `python -m vintk_jax.assign` on this workdir."
    try:
        record = json.loads(path.read_text())
        tla = record["tla"]
        module = assigners.make(tla["kind"], len(record["names"]), tla["width"], tla["thumbnail"])
    except FileNotFoundError as error:
        raise UserError(f"There is no {path}. {again}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} can't be read ({type(error).__name__}: {error}). {again}") from error
    if record["model"] != identity:
        raise UserError(f"{path} belongs to weights {record['model']}; the checkpoint has {identity}. {again}")
    side = tla["thumbnail"]
    seen = jnp.zeros((1, features)) if assigners.reads_features(module) else np.zeros((1, side, side, 3), np.uint8)
    like = jax.eval_shape(module.init, jax.random.key(0), seen)
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), like)
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            params = checkpointer.restore((folder / _WEIGHTS).absolute(), like)
        if checksum(params) != record["checksum"]:
            raise ValueError("the numbers are not those that were written")
    except Exception as error:  # orbax and tensorstore raise many types
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"The assigner in {folder} is corrupt ({words}). {again}") from error
    return record, module, params
