"""From a config to the labels of patches: whether a training has any, and which trained model gives
them.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import ml_collections

from vintk_jax.errors import UserError
from vintk_jax.models.regions import Regions
from vintk_jax.models.vit import ViT
from vintk_jax.tasks.model_spec import ModelSpec
from vintk_jax.tasks.objectives import Classification
from vintk_jax.tasks.patch_labels import Teacher, TokenLabelling
from vintk_jax.workdir.checkpoints import BEST
from vintk_jax.workdir.config_claims import read_claimed


def with_patch_labels(
    objective: Classification,
    config: ml_collections.ConfigDict,
    spec: ModelSpec,
    classes: Sequence[str],
) -> Classification:
    """The objective, with labels for patches where the model has an `aux_head` or the loss a
    teacher.

    Raises:
        UserError: for a model or a teacher that can't classify patches, or other classes.
    """
    where = config.loss.teacher
    if not (where or getattr(spec.model, "aux_head", False)):
        return objective
    if not _classifies_patches(spec):
        raise UserError(
            "Expected a ViT that classifies patches as the student of "
            f"loss.teacher={where}, got a {type(spec.model).__name__}. Set model.aux_head=True or "
            "model.pool=mean."
        )
    if any(isinstance(grid, Regions) for grid in spec.grids):
        raise UserError(
            "Token labelling wants a label for every patch of a grid, and lengths by region have "
            f"none. Expected model.regions=() beside loss.teacher={where}."
        )
    if config.loss.token_weight < 0:
        raise UserError(
            f"Expected loss.token_weight of 0 at least, got {config.loss.token_weight}."
        )
    teacher, frozen = _teacher(where, tuple(classes)) if where else (None, None)
    fields = {field.name: getattr(objective, field.name) for field in dataclasses.fields(objective)}
    return TokenLabelling(
        **fields,
        grids=spec.grids,
        weight=config.loss.token_weight,
        teacher=teacher,
        frozen=frozen,
    )


def _classifies_patches(spec: ModelSpec) -> bool:
    return isinstance(spec.model, ViT) and (spec.model.aux_head or spec.model.pool == "mean")


def _teacher(where: str, classes: tuple[str, ...]) -> tuple[Teacher, dict]:
    # A teacher is a training of its own: the import comes when there is one, not in a circle.
    from vintk_jax.tasks import kind_of
    from vintk_jax.tasks.loading import load_trained

    workdir = Path(where).expanduser()
    config = read_claimed(workdir, "train")
    kind = kind_of(config).name
    if kind != "classification":
        raise UserError(f"Expected loss.teacher to be a classifier of images, got {kind}: {where}.")
    spec, variables, known, _ = load_trained(workdir, config, BEST, lambda note: None)
    if known != classes:
        raise UserError(
            f"Expected a loss.teacher of the data's {len(classes)} classes, got {where}, which "
            f"knows {len(known)} ({known[0]}, ...)."
        )
    if not _classifies_patches(spec):
        raise UserError(
            f"loss.teacher={where} can't classify patches. Train one with "
            "--config.model.pool=mean, or an LV-ViT."
        )
    return Teacher(spec.model, spec.grids[0], spec.image_size), variables
