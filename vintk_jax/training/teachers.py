"""From a config to the labels of patches: whether a training has any, and which trained model gives
them.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import ml_collections

from vintk_jax import config as configs
from vintk_jax.errors import UserError
from vintk_jax.inference.loading import load_trained
from vintk_jax.models.vit import ViT
from vintk_jax.training.checkpoints import BEST
from vintk_jax.training.models import Trained
from vintk_jax.training.objectives import Classification
from vintk_jax.training.token_labels import Teacher, TokenLabelling


def with_token_labels(
    objective: Classification,
    config: ml_collections.ConfigDict,
    trained: Trained,
    classes: Sequence[str],
) -> Classification:
    """The objective, with labels for patches where the model has an `aux_head` or the loss a
    teacher.

    Raises:
        UserError: for a model or a teacher that can't classify patches, or other classes.
    """
    where = config.loss.teacher
    if not (where or getattr(trained.model, "aux_head", False)):
        return objective
    if not isinstance(trained.model, ViT) or not (
        trained.model.aux_head or trained.model.pool == "mean"
    ):
        raise UserError(
            f"loss.teacher={where} came for a {type(trained.model).__name__} that doesn't classify "
            "patches. Set model.aux_head=True or model.pool=mean."
        )
    if config.loss.token_weight < 0:
        raise UserError(
            f"loss.token_weight={config.loss.token_weight} came; no negative number was wanted."
        )
    teacher, frozen = _teacher(where, tuple(classes)) if where else (None, None)
    fields = {field.name: getattr(objective, field.name) for field in dataclasses.fields(objective)}
    return TokenLabelling(
        **fields,
        grids=trained.grids,
        weight=config.loss.token_weight,
        teacher=teacher,
        frozen=frozen,
    )


def _teacher(where: str, classes: tuple[str, ...]) -> tuple[Teacher, dict]:
    workdir = Path(where).expanduser()
    config = configs.read_claimed(workdir, "train")
    if "segmentation" in config or "clips" in config:
        raise UserError(f"loss.teacher={where} holds no classifier of images; one was wanted.")
    found, variables, known = load_trained(workdir, config, BEST, lambda note: None)
    if known != classes:
        raise UserError(
            f"loss.teacher={where} knows {len(known)} classes ({known[0]}, ...); the "
            f"{len(classes)} of the data were wanted."
        )
    if not isinstance(found.model, ViT) or not (found.model.aux_head or found.model.pool == "mean"):
        raise UserError(
            f"loss.teacher={where} can't classify patches. Train one with "
            "--config.model.pool=mean, or an LV-ViT."
        )
    return Teacher(found.model, found.grids[0], found.image_size), variables
