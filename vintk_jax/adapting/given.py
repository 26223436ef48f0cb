"""What a person gives in place of a stage: an architecture, a file of weights, a trained model."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import ml_collections

from vintk_jax import spaces
from vintk_jax.data import folders
from vintk_jax.defaults.field import fields
from vintk_jax.errors import UserError
from vintk_jax.tasks.architecture import KEPT, read_best
from vintk_jax.workdir.config_claims import read_claimed

# Our choices for going on from weights of others: small steps, smaller the nearer to the pixels.
FINE_TUNING = {
    "optimizer.name": "adamw",
    "optimizer.learning_rate": 5e-4,
    "optimizer.layer_decay": 0.75,
}


@dataclasses.dataclass(frozen=True)
class WeightsModel:
    """The model that a file of weights is for: its image size, parameters and lengths, and fields
    of a training's section model.
    """

    image_size: int
    params: int
    lengths: tuple[int, ...]
    values: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Given:
    """At most one of these.

    Attributes:
        arch: best.json of a search.
        weights: what a file of weights is for.
        model: workdir of a training, and `training` its config.
        best: the architecture, as a search's best.json has it, of `arch`, or of `model` where that
            was found by a search.
    """

    arch: Path | None = None
    weights: WeightsModel | None = None
    model: Path | None = None
    training: ml_collections.ConfigDict | None = None
    best: dict[str, Any] | None = None

    @property
    def searches(self) -> bool:
        """Whether an architecture has to be found."""
        return self.arch is None and self.weights is None and self.model is None

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens a side of each length that what was given is for; empty where that is open."""
        if self.training is not None:
            return tuple(self.training.model.lengths)
        return () if self.weights is None else self.weights.lengths

    @property
    def image_size(self) -> int:
        """Pixels a side that what was given is for; 0 where that is open."""
        if self.training is not None:
            return self.training.data.image_size
        return 0 if self.weights is None else self.weights.image_size

    @property
    def params(self) -> int:
        """Parameters of the model; 0 where what was given doesn't say."""
        if self.weights is not None:
            return self.weights.params
        if self.best is None:
            return 0
        space = spaces.get(self.best["space"])
        return space.cost(space.from_json(self.best["arch"])).params

    @property
    def training_values(self) -> dict[str, Any]:
        """Fields of a training that what was given decides."""
        if self.training is not None:
            return {name: value for name, value in fields(self.training) if name != "model.arch"}
        return {} if self.weights is None else {**self.weights.values, **FINE_TUNING}


def read_given(config: ml_collections.ConfigDict) -> Given:
    """Look at what was given.

    Raises:
        UserError: for several, or for what can't be used.
    """
    section = config.given
    named = {name: value for name, value in section.items() if value}
    if len(named) > 1:
        raise UserError(
            f"Expected one of {', '.join(f'given.{name}' for name in section)}, got "
            f"{' and '.join(f'given.{name}' for name in named)}. Each takes the place of the "
            "search, so give one."
        )
    if "arch" in named:
        read_best(section.arch)
        path = folders.path_of(section.arch, f"given.arch={section.arch}")
        return Given(arch=path, best=json.loads(path.read_text()))
    if "weights" in named:
        return Given(weights=_weights(section.weights))
    if "model" in named:
        workdir = folders.path_of(section.model, f"given.model={section.model}")
        kept = workdir / KEPT
        best = json.loads(kept.read_text()) if kept.exists() else None
        return Given(model=workdir, training=_training(workdir), best=best)
    return Given()


def _weights(where: str) -> WeightsModel:
    """The sizes of a file's model; its lengths are its own and two shorter ones."""
    from vintk_jax.command_line import take_compile_cache
    from vintk_jax.defaults.weights import weights
    from vintk_jax.weights.files import open_weights
    from vintk_jax.weights.load import scheme_of
    from vintk_jax.weights.rules import mapped
    from vintk_jax.weights.sizes import Sizes, training_config

    config = weights()
    take_compile_cache(config)
    config.weights = where
    opened = open_weights(where)
    scheme = scheme_of(opened)
    if scheme.supernet:
        raise UserError(
            f"{where} is a supernet; which of its architectures is meant is not said. Make it a "
            "workdir first (python -m vintk_jax.weights --config configs/weights.py, "
            "docs/weights.md), or give given.arch."
        )
    sizes = Sizes.of(mapped(opened, scheme, 0))
    if sizes.attention:
        raise UserError(f"{where} is a model of clips; adapt takes images.")
    made = training_config(config, sizes)
    lengths = dict.fromkeys((sizes.grid, round(0.7 * sizes.grid), round(0.5 * sizes.grid)))
    values = {
        f"model.{name}": value
        for name, value in fields(made.model)
        if name not in ("lengths", "arch")
    }
    values["model.weights_head"] = "new"
    shorter_too = tuple(side for side in lengths if side)
    params = sum(array.size for array in opened.arrays.values())
    return WeightsModel(made.data.image_size, params, shorter_too, values)


def _training(workdir: Path) -> ml_collections.ConfigDict:
    """The config of a training of images at several lengths."""
    training = read_claimed(workdir, "train")
    lengths = training.get("model", {}).get("lengths", ())
    if "clips" in training or "segmentation" in training or len(lengths) < 2:
        raise UserError(
            f"Expected given.model={workdir} to be a training of a classifier at two token lengths "
            "at least (model.lengths), got another. Train one, or give another."
        )
    return training


def splits_of(training: ml_collections.ConfigDict) -> tuple[str, str | None, str]:
    """The splits of a training that was given: its images, what it left out of them (None: nothing
    that its config tells), and its test images.
    """
    data = training.data
    left = re.fullmatch(r"(\w+)\[:(\d+%?)\]", data.train_split)
    if data.source == "digits" and data.train_split == "train":
        return data.train_split, "assign", data.test_split
    return data.train_split, f"{left[1]}[{left[2]}:]" if left else None, data.test_split
