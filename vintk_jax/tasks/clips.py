"""Classes of clips, by a TimeSformer of given sizes or one that a search found, at one length of
space and time or several.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Shaped

from vintk_jax.data.clip_views import ClipAugment, ClipViews
from vintk_jax.data.clips import KINDS as SOURCES
from vintk_jax.data.clips import open_clips
from vintk_jax.errors import UserError
from vintk_jax.models.folding import Length
from vintk_jax.models.timesformer import ATTENTIONS, TimeSformer
from vintk_jax.tasks.architecture import read_best
from vintk_jax.tasks.base import Kind, Predict, Task, host_augmentation, make_predict, open_splits
from vintk_jax.tasks.model_spec import INITS, ModelSpec, dtype_of
from vintk_jax.tasks.objectives import Classification
from vintk_jax.tasks.views import over_views


def build(config: ml_collections.ConfigDict, num_classes: int) -> ModelSpec:
    """The model of a training's sections `model` and `clips`.

    Raises:
        UserError: for sizes that don't fit each other.
    """
    model = config.model
    section = config.clips
    image_size = config.data.image_size
    lengths = tuple((int(frames), int(side)) for frames, side in section.lengths)
    _check(model, section, lengths, image_size)
    grids = tuple((frames, side, side) for frames, side in lengths)
    timesformer = _searched(model, num_classes) if model.arch else _by_sizes(model, num_classes)
    timesformer = timesformer.clone(
        patch_size=model.patch_size or round(image_size / lengths[0][1]),
        native_grid=(max(side for _, side in lengths),) * 2,
        native_frames=section.frames,
        attention=section.attention,
        norm_grids=grids if model.separate_norms and len(grids) > 1 else (),
        dtype=dtype_of(model.dtype),
        scan=model.scan,
        remat=model.remat,
    )
    views = section.views * section.crops
    return ModelSpec(timesformer, grids, image_size, model.init, section.frames, views)


def _check(
    model: ml_collections.ConfigDict,
    section: ml_collections.ConfigDict,
    lengths: tuple[tuple[int, int], ...],
    image_size: int,
) -> None:
    """Refuse sizes that don't fit each other."""
    tokens = [frames * side**2 for frames, side in lengths]
    descending = tokens == sorted(set(tokens), reverse=True)
    possible = all(
        1 <= frames <= section.frames and 1 <= side <= image_size for frames, side in lengths
    )
    if not lengths or not descending or not possible:
        raise UserError(
            "Expected clips.lengths to be pairs of frames (up to "
            f"clips.frames={section.frames}) and tokens a side, the most tokens first and no two "
            f"with as many, got {lengths}."
        )
    if section.attention not in ATTENTIONS or model.init not in INITS:
        raise UserError(
            f"Expected model.init to be {' or '.join(INITS)} and clips.attention to be one of "
            f"{', '.join(ATTENTIONS)}, got {model.init!r} and {section.attention!r}."
        )
    several = section.views > 1
    if section.views < 1 or section.crops < 1 or (several and not section.stretch):
        raise UserError(
            "Expected one view and one crop at least, and several views only of clips.stretch "
            "frames each (those of the whole clip would be the same), got "
            f"clips.views={section.views}, crops={section.crops}, stretch={section.stretch}."
        )


def _searched(model: ml_collections.ConfigDict, num_classes: int) -> TimeSformer:
    """The model of a search's best.json."""
    space, arch = read_best(model.arch)
    timesformer = space.model(arch, num_classes=num_classes)
    if not isinstance(timesformer, TimeSformer):
        raise UserError(
            f"model.arch={model.arch} is of {space.name}, no video model. `search --config "
            "configs/clip_space.py` finds one."
        )
    return timesformer


def _by_sizes(model: ml_collections.ConfigDict, num_classes: int) -> TimeSformer:
    if model.embed_dim % model.num_heads:
        raise UserError(
            f"Expected heads that divide the width, got model.embed_dim={model.embed_dim}, "
            f"num_heads={model.num_heads}."
        )
    return TimeSformer(
        embed_dim=model.embed_dim,
        num_heads=(model.num_heads,) * model.depth,
        hidden=(int(model.embed_dim * model.mlp_ratio),) * model.depth,
        head_dim=model.embed_dim // model.num_heads,
        num_classes=num_classes,
    )


def open_task(config: ml_collections.ConfigDict) -> Task:
    """Open the data and build the model.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    section = config.clips
    train, test = open_splits(config, open_clips)
    for source, split in ((train, config.data.train_split), (test, config.data.test_split)):
        short = sum(length < section.frames for length in source.frames)
        if short:
            source.notes += (
                f"{short} clip(s) of {split} are shorter than clips.frames={section.frames}: some "
                "of their frames are shown twice.",
            )
    objective = Classification.of(config, len(train.classes))
    return Task(
        train=train,
        test=test,
        spec=build(config, len(train.classes)),
        objective=objective,
        augment=ClipAugment(host_augmentation(config), section.frames, section.stretch),
        eval_transform=views_of(config),
        predict=predict_views,
    )


def views_of(config: ml_collections.ConfigDict) -> ClipViews:
    """The views of a clip that the model is evaluated on."""
    section = config.clips
    return ClipViews(
        config.data.image_size,
        section.frames,
        section.stretch,
        config.data.crop_ratio,
        section.views,
        section.crops,
    )


def predict_views(model: nn.Module, grid: Length | None) -> Predict:
    """Logarithms of the probabilities, which are averaged over a clip's views."""
    logits_of = make_predict(model, grid)

    def predict(params: Any, clips: Shaped[Array, " n *shape"]) -> Array:
        def probabilities(view):
            return jax.nn.softmax(logits_of(params, view))

        return jnp.log(over_views(probabilities, clips))

    return predict


KIND = Kind("clips", build, open_task, views_of, SOURCES)
