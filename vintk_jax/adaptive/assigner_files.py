"""A trained assigner on disk: its weights by orbax, and a record of the model that it belongs to
and of how it was calibrated.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.adaptive.assigner_kinds import make_assigner
from vintk_jax.adaptive.assigner_networks import example
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.adaptive.calibration import Calibration
from vintk_jax.errors import UserError
from vintk_jax.files import write_json
from vintk_jax.workdir.checkpoints import checksum

RECORD = "assigner.json"
_WEIGHTS = "assigner"
_AGAIN = "Run `python -m vintk_jax.assign` on this workdir."


def save(
    folder: Path, assigner: Assigner, calibration: Calibration, record: dict[str, Any]
) -> None:
    """Write weights, then the record that makes them count.

    Args:
        record: with the fields model (`Predictor.identity`), names, features (how many numbers a
            pass gives), classes (how many), looks and tla.
    """
    (folder / RECORD).unlink(missing_ok=True)
    shutil.rmtree(folder / _WEIGHTS, ignore_errors=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((folder / _WEIGHTS).absolute(), assigner.params)
    known = {
        "costs": assigner.costs,
        "calibration": dataclasses.asdict(calibration),
        "checksum": checksum(assigner.params),
    }
    write_json(folder / RECORD, {**record, **known})


def read_record(folder: Path) -> dict[str, Any]:
    """What was kept beside the weights.

    Raises:
        UserError: when there is none, or it can't be read.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"There is no {path}. {_AGAIN}") from error
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(record, dict):
        raise UserError(f"{path} can't be read: it holds no object. {_AGAIN}")
    return record


def untrained(record: Mapping[str, Any]) -> tuple[Assigner, tuple[Any, ...]]:
    """The assigner of a record without its weights, and the shapes of these at each stage.

    Raises:
        KeyError: for a record that lacks a field.
    """
    tla = record["tla"]
    assigner = make_assigner(
        tla["kind"],
        tla["width"],
        tla["target"],
        tla["thumbnail"],
        tla["keep"],
        tuple(record["costs"]),
        classes=record.get("classes", 0),
    )
    inputs = example(assigner.module, record["features"], tla["thumbnail"])
    shapes = jax.eval_shape(assigner.module.init, jax.random.key(0), inputs)
    return assigner, (shapes,) * record["looks"]


def calibration_of(known: Mapping[str, Any]) -> Calibration:
    """A calibration as it was kept.

    Raises:
        KeyError, TypeError, ValueError: for what is none.
    """
    curves = {
        name: [
            Point(
                **point
                | {"mix": tuple(point["mix"]), "confidences": tuple(point.get("confidences", ()))}
            )
            for point in known[name]
        ]
        for name in ("assigned", "cascade")
    }
    weight = known.get("cascade_weight", 0.0)
    return Calibration(known["images"], known["full"], **curves, cascade_weight=weight)


def read(folder: Path, identity: str) -> tuple[Assigner, Calibration]:
    """An assigner, with no price set, and its calibration.

    Args:
        identity: of the model that it will be used with.

    Raises:
        UserError: when there is none, it can't be read, or it belongs to another model.
    """
    path = folder / RECORD
    record = read_record(folder)
    try:
        assigner, shapes = untrained(record)
        calibration = calibration_of(record["calibration"])
        model = record["model"]
        expected_checksum = record["checksum"]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error
    if model != identity:
        raise UserError(
            f"{path} belongs to weights {model}; the checkpoint has {identity}. {_AGAIN}"
        )
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes
    )
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            params = checkpointer.restore((folder / _WEIGHTS).absolute(), like)
        if checksum(params) != expected_checksum:
            raise ValueError("the numbers are not those that were written")
    except Exception as error:  # orbax and tensorstore raise many types
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"The assigner in {folder} is corrupt ({words}). {_AGAIN}") from error
    return dataclasses.replace(assigner, params=tuple(params)), calibration


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} can't be read ({type(error).__name__}: {error}). {_AGAIN}")
