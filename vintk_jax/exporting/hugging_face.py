"""A trained model in the layout that the Hugging Face Hub knows: config.json, model.safetensors,
preprocessor_config.json and a model card, README.md; with an assigner its weights and its
calibration. `vintk_jax.from_pretrained` reads it.
"""

import dataclasses
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save

from vintk_jax.adaptive import assigner_files
from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.data.archives import MEAN, STD
from vintk_jax.defaults.field import fields
from vintk_jax.files import write_json
from vintk_jax.report.model_card import LengthRow, model_card
from vintk_jax.tasks import kind_of
from vintk_jax.tasks.architecture import KEPT
from vintk_jax.tasks.model_spec import ModelSpec
from vintk_jax.workdir import metrics

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PREPROCESSOR = "preprocessor_config.json"
CARD = "README.md"
ASSIGNER_WEIGHTS = "assigner.safetensors"
CALIBRATION = "calibration.json"  # beside an assigner: what each budget is expected to come to
LAYOUT = 1  # the layout's number, in config.json
SEPARATOR = "."  # between the names of a weight's path

_PIPELINES = {"classification": "image-classification", "clips": "video-classification"}


@dataclasses.dataclass(frozen=True)
class HuggingFace:
    """A trained model, and what its card says.

    Attributes:
        workdir: of the training.
        training: its config.
        spec, params, classes: the model, its variables, the names of its outputs.
        step: of the checkpoint that they are from.
        assigner: at the setting that is exported; None without one.
        multiply_adds: of an image by the length's name.
        about: the budget and what it is expected to come to, for the card.
        license: an SPDX identifier; empty where nobody has chosen one.
    """

    workdir: Path
    training: ml_collections.ConfigDict
    spec: ModelSpec
    params: Mapping[str, Any]
    classes: tuple[str, ...]
    step: int
    assigner: Assigner | None
    multiply_adds: Mapping[str, int]
    about: Mapping[str, Any]
    license: str

    def write(self, folder: Path) -> None:
        """Write the files into a folder."""
        (folder / WEIGHTS).write_bytes(_safetensors(self.params))
        kept_arch = self.workdir / KEPT
        arch = json.loads(kept_arch.read_text()) if self.training.model.arch else None
        config = {
            "library_name": "vintk_jax",
            "layout": LAYOUT,
            "architectures": [type(self.spec.model).__name__],
            "training": json.loads(json.dumps(dict(fields(self.training)))),
            "arch": arch,
            "id2label": {str(i): name for i, name in enumerate(self.classes)},
            "lengths": list(reversed(self.spec.names)),
            "assigner": self._assigner(folder),
        }
        write_json(folder / CONFIG, config)
        write_json(folder / PREPROCESSOR, self._preprocessor())
        (folder / CARD).write_text(self._card())

    def _assigner(self, folder: Path) -> dict[str, Any] | None:
        """Write its weights; what config.json says of it."""
        if self.assigner is None:
            return None
        by_stage = {str(stage): params for stage, params in enumerate(self.assigner.params)}
        (folder / ASSIGNER_WEIGHTS).write_bytes(_safetensors(by_stage))
        record = assigner_files.read_record(self.workdir / "assign")
        write_json(folder / CALIBRATION, {**record["calibration"], "cascade": []})
        names = ("tla", "features", "classes", "looks", "costs")
        kept = {name: record[name] for name in names if name in record}
        return {**kept, "price": self.assigner.price, "start": self.assigner.start}

    def _preprocessor(self) -> dict[str, Any]:
        """The fields of a Hugging Face image processor that does the same."""
        size = self.spec.image_size
        resized = round(size / self.training.data.crop_ratio)
        return {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": resized},
            "resample": 3,  # Pillow's bicubic
            "do_center_crop": True,
            "crop_size": {"height": size, "width": size},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": MEAN.tolist(),
            "image_std": STD.tolist(),
        }

    def _card(self) -> str:
        accuracies = metrics.measures_at(self.workdir / "metrics.jsonl", "accuracy", self.step)
        rows = [
            LengthRow(name, self.multiply_adds[name], accuracies.get(name))
            for name in reversed(self.spec.names)
        ]
        return model_card(
            title=f"{type(self.spec.model).__name__}, {len(rows)} token lengths",
            pipeline=_PIPELINES[kind_of(self.training).name],
            license=self.license,
            rows=rows,
            training=self.training,
            classes=self.classes,
            expected=self.about.get("expected"),
            budget=self.about.get("budget"),
            version=metadata.version("vintk_jax"),
            clips=self.spec.frames > 0,
        )


def _safetensors(tree: Mapping[str, Any]) -> bytes:
    """The arrays of a tree, under their paths."""
    flat = flatten_dict(tree, sep=SEPARATOR)
    return save({path: np.ascontiguousarray(leaf) for path, leaf in flat.items()})
