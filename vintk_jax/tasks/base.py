"""What every kind of training has: how its data is opened, its model built, its images prepared."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float

from vintk_jax.data import folders
from vintk_jax.data.augment import Augment, Centre
from vintk_jax.data.loader import Transform
from vintk_jax.data.sources import Kinds, Source
from vintk_jax.errors import UserError
from vintk_jax.models.folding import Length
from vintk_jax.models.passes import at_lengths
from vintk_jax.tasks.model_spec import ModelSpec
from vintk_jax.tasks.objectives import Objective, normalise

Predict = Callable[[Any, Array], Float[Array, "n *places classes"]]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a training runs on.

    Attributes:
        train, test: the images.
        spec: the model.
        objective: its loss and measure.
        augment: what happens to a training image.
        eval_transform: what happens to an image that the model is only evaluated on.
        predict: (model, length or None) -> a function (params, uint8 images) -> logits.
    """

    train: Source
    test: Source
    spec: ModelSpec
    objective: Objective
    augment: Transform
    eval_transform: Transform
    predict: Callable[[nn.Module, Length | None], Predict]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of training; each is a file of this package.

    Attributes:
        name: of the config's section that says so; "classification" has none.
        build: (the training's config, number of classes) -> the model.
        open_task: (the training's config) -> the task: opens the data and builds the model.
        eval_transform: (the training's config) -> what happens to an image that the model is only
            evaluated on.
        sources: what opens the data that a config may name.
    """

    name: str
    build: Callable[[ml_collections.ConfigDict, int], ModelSpec]
    open_task: Callable[[ml_collections.ConfigDict], Task]
    eval_transform: Callable[[ml_collections.ConfigDict], Transform]
    sources: Kinds


def open_splits(
    config: ml_collections.ConfigDict, open_split: Callable[[str, str], Source]
) -> tuple[Source, Source]:
    """The training and the test images.

    Raises:
        UserError: for two splits of different classes.
    """
    data = config.data
    train = open_split(data.source, data.train_split)
    test = open_split(data.source, data.test_split)
    if train.classes != test.classes:
        splits = (data.train_split, data.test_split)
        raise UserError(
            f"Expected the same classes in both splits of {data.source}, got {len(train.classes)} "
            f"in {splits[0]} and {len(test.classes)} in {splits[1]}: "
            f"{folders.differing(train.classes, test.classes, splits)}."
        )
    return train, test


def host_augmentation(config: ml_collections.ConfigDict) -> Augment:
    """What happens to a training image on the host. Mixing is the objective's."""
    host_side = {field.name for field in dataclasses.fields(Augment)} - {"size"}
    chosen = {name: value for name, value in config.augment.items() if name in host_side}
    return Augment(config.data.image_size, **chosen)


def centre_crop(config: ml_collections.ConfigDict) -> Transform:
    """The centre square of an image."""
    return Centre(config.data.image_size, config.data.crop_ratio)


def make_predict(model: nn.Module, grid: Length | None) -> Predict:
    """A function (params, uint8 images) -> logits at one token length."""

    def predict(params, images):
        (logits,) = at_lengths(model, params, normalise(images), [grid])
        return logits.astype(jnp.float32)

    return predict
