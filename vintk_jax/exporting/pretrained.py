"""A model that was exported in the Hugging Face layout, read back: `vintk_jax.from_pretrained`."""

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from flax.traverse_util import unflatten_dict
from jaxtyping import Float, UInt8
from safetensors.numpy import load_file

from vintk_jax.adaptive import assigner_files
from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.adaptive.calibration import Calibration
from vintk_jax.errors import UserError
from vintk_jax.exporting.hugging_face import (
    ASSIGNER_WEIGHTS,
    CALIBRATION,
    CONFIG,
    LAYOUT,
    SEPARATOR,
    WEIGHTS,
)
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import Predictor
from vintk_jax.tasks import kind_of
from vintk_jax.workdir.config_claims import config_of_fields


class Pretrained:
    """A trained model, with its assigner where it has one.

    Attributes:
        predictor: the model at each length.
        assigner: None without one.
        calibration: what each budget is expected to come to; None without an assigner, and in
            folders from before it was exported.
        classes: names of the outputs.
        lengths: names of the lengths, cheapest first.
        shape: of an image, or of a clip.
    """

    def __init__(
        self,
        predictor: Predictor,
        assigner: Assigner | None,
        calibration: Calibration | None = None,
    ):
        self.predictor = predictor
        self.assigner = assigner
        self.calibration = calibration
        self.classes = predictor.classes
        self.lengths = tuple(reversed(predictor.names))
        self.shape = predictor.shape
        plans = Plans(predictor)
        plan = plans.fixed(self.lengths[-1]) if assigner is None else assigner.plan(plans)
        self._names = [step.name for step in plan.steps]
        self._engine = Engine(plan, predictor.shape)

    def __call__(
        self, images: UInt8[np.ndarray, "n *image 3"]
    ) -> tuple[Float[np.ndarray, "n classes"], list[str]]:
        """Probabilities, and the length that answered each image: its own where there is an
        assigner, else the longest.

        Args:
            images: uint8 of `shape`, as `predictor.eval_transform` makes them.

        Raises:
            UserError: for images of another type or shape.
        """
        block = self._engine.all(images)
        return block.probabilities, [self._names[step] for step in block.steps]

    def at(self, length: str, images: UInt8[np.ndarray, "n *image 3"]) -> np.ndarray:
        """Probabilities at one length.

        Raises:
            UserError: for a length that there isn't, and images of another type or shape.
        """
        return np.asarray(self.predictor(images, length))


def from_pretrained(folder: str | Path) -> Pretrained:
    """The model in a folder that `vintk export --config.formats="('huggingface',)"` has written.

    Args:
        folder: on this machine; `huggingface_hub.snapshot_download` brings one from the Hub.

    Raises:
        UserError: for a folder that holds no such model, or a damaged one.
    """
    folder = Path(folder).expanduser()
    described = _read_config(folder)
    training = config_of_fields(described["training"])
    classes = tuple(described["id2label"][str(i)] for i in range(len(described["id2label"])))
    spec = _spec(training, described["arch"], len(classes))
    shapes = jax.eval_shape(spec.draw, jax.random.key(0))
    params = _read_weights(folder / WEIGHTS, shapes)
    transform = kind_of(training).eval_transform(training)
    predictor = Predictor(spec, params, classes, transform)
    assigner = _read_assigner(folder, described["assigner"])
    return Pretrained(predictor, assigner, _read_calibration(folder) if assigner else None)


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        described = json.loads(path.read_text())
        layout = described["layout"] if described["library_name"] == "vintk_jax" else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"Expected a folder that `vintk export` has written in the huggingface format, got "
            f"{folder}: {type(error).__name__} {error}."
        ) from error
    if layout != LAYOUT:
        raise UserError(
            f"Expected the config of a vintk_jax model in layout {LAYOUT}, got layout {layout} in "
            f"{path}. Install the vintk_jax that wrote it."
        )
    return described


def _spec(training: ml_collections.ConfigDict, arch: Mapping[str, Any] | None, num_classes: int):
    """The model. An architecture that was searched for is read from a file."""
    if arch is None:
        return kind_of(training).build(training, num_classes)
    with tempfile.TemporaryDirectory() as place:
        training.model.arch = str(Path(place) / "arch.json")
        Path(training.model.arch).write_text(json.dumps(arch))
        return kind_of(training).build(training, num_classes)


def _read_weights(path: Path, shapes: Any) -> Any:
    """A tree of weights of known shapes.

    Raises:
        UserError: for a file that can't be read, or of other weights.
    """
    try:
        flat = load_file(path)
    except Exception as error:  # safetensors raises its own, and the system's
        raise UserError(
            f"Expected weights in {path}, got {type(error).__name__} {error}."
        ) from error
    params = unflatten_dict(flat, sep=SEPARATOR)
    wanted = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), shapes)
    there = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), params)
    if wanted != there:
        raise UserError(f"The weights in {path} are not those of the model in {CONFIG}.")
    return jax.tree.map(jax.numpy.asarray, params)


def _read_calibration(folder: Path) -> Calibration | None:
    path = folder / CALIBRATION
    if not path.exists():
        return None
    try:
        return assigner_files.calibration_of(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"Expected a calibration in {path}, got {type(error).__name__} {error}."
        ) from error


def _read_assigner(folder: Path, record: Mapping[str, Any] | None) -> Assigner | None:
    if record is None:
        return None
    path = folder / ASSIGNER_WEIGHTS
    untrained, shapes = assigner_files.untrained(record)
    by_stage = _read_weights(path, {str(stage): one for stage, one in enumerate(shapes)})
    params = tuple(by_stage[str(stage)] for stage in range(len(shapes)))
    return dataclasses.replace(
        untrained, params=params, price=record["price"], start=record["start"]
    )
