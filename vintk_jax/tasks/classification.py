"""Classes of images, by a ViT of given sizes or an architecture that a search found, at one token
length or several.
"""

import dataclasses
import math

import flax.linen as nn
import ml_collections

from vintk_jax.data.sources import KINDS as SOURCES
from vintk_jax.data.sources import open_source
from vintk_jax.errors import UserError
from vintk_jax.models.conv_stem import SIDES, STRIDE
from vintk_jax.models.folding import Length
from vintk_jax.models.regions import Regions
from vintk_jax.models.segmenter import Segmenter
from vintk_jax.models.vit import ViT
from vintk_jax.tasks.architecture import read_best
from vintk_jax.tasks.base import (
    Kind,
    Task,
    centre_crop,
    host_augmentation,
    make_predict,
    open_splits,
)
from vintk_jax.tasks.model_spec import INITS, LATER_FIELDS, ModelSpec, dtype_of
from vintk_jax.tasks.objectives import Classification
from vintk_jax.tasks.teachers import with_patch_labels


def build(config: ml_collections.ConfigDict, num_classes: int) -> ModelSpec:
    """The model of a training's section `model`.

    Raises:
        UserError: for sizes that don't fit each other.
    """
    section = config.model
    image_size = config.data.image_size
    _check_lengths(section.lengths, image_size)
    if section.init not in INITS:
        raise UserError(f"Expected model.init to be {' or '.join(INITS)}, got {section.init!r}.")
    dtype = dtype_of(section.dtype)
    if section.arch:
        model = _searched(section, num_classes, image_size)
    else:
        model = _by_sizes(section, num_classes)
    if not isinstance(model, ViT):
        return _with_one_length(model, section, dtype, image_size)
    grids = _lengths(section)
    longest = (section.lengths[0],) * 2
    patch_size = section.patch_size or round(image_size / section.lengths[0])
    _check_stem(section)
    if model.stem_width and (patch_size % STRIDE or STRIDE * section.lengths[0] > image_size):
        raise UserError(
            "A stem's features are half as high and wide as the image. Expected an even "
            f"model.patch_size and at most {image_size // STRIDE} tokens a side, got {patch_size} "
            f"and {section.lengths[0]}."
        )
    model = model.clone(
        patch_size=patch_size,
        native_grid=longest,
        norm_grids=grids if section.separate_norms and len(grids) > 1 else (),
        dtype=dtype,
        scan=section.scan,
        remat=section.remat,
    )
    return ModelSpec(model, grids, image_size, section.init)


def _check_stem(section: ml_collections.ConfigDict) -> None:
    """Refuse kernels that have no middle.

    Raises:
        UserError: for them.
    """
    sides = section.get("stem_sides", SIDES)
    if not sides or not all(isinstance(side, int) and side % 2 and side > 0 for side in sides):
        raise UserError(
            f"Expected model.stem_sides to be odd numbers of pixels, such as {SIDES} or (3,), got "
            f"{tuple(sides)}."
        )


def _lengths(section: ml_collections.ConfigDict) -> tuple[Length, ...]:
    """Grids and regions, by the tokens of all their passes, longest first.

    Raises:
        UserError: for regions that don't fit the rest.
    """
    grids = [(side, side) for side in section.lengths]
    cuts = section.get("regions", ())
    if not cuts:
        return tuple(grids)
    coarse = section.lengths[-1]
    fits = all(isinstance(cut, int) and 1 <= cut <= coarse**2 for cut in cuts)
    if not fits or len(set(cuts)) < len(cuts) or 2 * coarse not in section.lengths:
        raise UserError(
            "Expected model.regions to be different numbers of the shortest length's "
            f"{coarse**2} tokens, and a length of {2 * coarse} tokens a side, which the cut ones "
            f"are embedded as, got regions={tuple(cuts)} with lengths={tuple(section.lengths)}."
        )
    plain = not (section.aux_head or section.arch) and section.separate_norms
    if section.pool != "mean" or not plain:
        raise UserError(
            "Lengths by region ask the classifier which tokens matter. Expected model.pool=mean "
            "and separate_norms without aux_head and arch, got "
            f"pool={section.pool!r}, separate_norms={section.separate_norms}, "
            f"aux_head={section.aux_head}, arch={section.arch!r}."
        )
    regions = [Regions(coarse, cut) for cut in cuts]
    too_long = [str(one) for one in regions if _all_tokens(one) >= math.prod(grids[0])]
    if too_long:
        raise UserError(
            "Expected model.regions whose two passes have fewer tokens than the longest length's "
            f"{math.prod(grids[0])}, got {', '.join(too_long)}. Cut fewer."
        )
    return tuple(sorted([*grids, *regions], key=_all_tokens, reverse=True))


def _all_tokens(length: Length) -> int:
    """Of all its passes."""
    if isinstance(length, Regions):
        return length.coarse**2 + length.tokens
    return math.prod(length)


def _check_lengths(lengths: tuple[int, ...], image_size: int) -> None:
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in lengths)
    if not whole:
        raise UserError(
            f"Expected model.lengths to be whole numbers of tokens a side, got {tuple(lengths)}."
        )
    descending = list(lengths) == sorted(set(lengths), reverse=True)
    if not lengths or not descending or lengths[-1] < 1 or lengths[0] > image_size:
        raise UserError(
            f"Expected model.lengths to be tokens a side, longest first, from {image_size} "
            f"(pixels) down to 1, got {tuple(lengths)}."
        )


def _searched(section: ml_collections.ConfigDict, num_classes: int, image_size: int) -> nn.Module:
    """The model of a search's best.json."""
    space, arch = read_best(section.arch)
    if space.frames:
        raise UserError(
            f"model.arch={section.arch} is a video model, of {space.name}. Train it with "
            "configs/revit_clips.py."
        )
    side = 16 * section.lengths[0] if space.name.startswith("autoformer") else image_size
    model = space.model(arch, image_size=side, num_classes=num_classes)
    if isinstance(model, Segmenter):
        raise UserError(
            f"model.arch={section.arch} is a segmenter. Train it with configs/segment_digits.py "
            "or another that has a section segmentation."
        )
    return model


def _by_sizes(section: ml_collections.ConfigDict, num_classes: int) -> ViT:
    if section.embed_dim % section.num_heads or section.pool not in ("token", "mean"):
        raise UserError(
            "Expected heads that divide the width, and model.pool to be token or mean, got "
            f"model.embed_dim={section.embed_dim}, num_heads={section.num_heads}, "
            f"pool={section.pool!r}."
        )
    return ViT(
        embed_dim=section.embed_dim,
        num_heads=(section.num_heads,) * section.depth,
        hidden=(int(section.embed_dim * section.mlp_ratio),) * section.depth,
        head_dim=section.embed_dim // section.num_heads,
        num_classes=num_classes,
        pool=section.pool,
        **{name: section.get(name, value) for name, value in LATER_FIELDS.items()},
    )


def _with_one_length(
    model: nn.Module, section: ml_collections.ConfigDict, dtype, image_size: int
) -> ModelSpec:
    """A model that isn't a ViT: it has its own length only."""
    name = type(model).__name__
    if len(section.lengths) > 1:
        raise UserError(
            f"A {name} has one length. Expected one number in model.lengths, got "
            f"{tuple(section.lengths)}. Give one, or take a ViT."
        )
    has_dtype = any(field.name == "dtype" for field in dataclasses.fields(model))
    if dtype is not None and not has_dtype:
        raise UserError(
            f"A {name} computes in float32. Expected model.dtype=float32, got {section.dtype}."
        )
    if has_dtype:
        model = model.clone(dtype=dtype)
    return ModelSpec(model, (None,), image_size, "own")


def open_task(config: ml_collections.ConfigDict) -> Task:
    """Open the data and build the model.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    train, test = open_splits(config, open_source)
    spec = build(config, len(train.classes))
    objective = Classification.of(config, len(train.classes))
    return Task(
        train=train,
        test=test,
        spec=spec,
        objective=with_patch_labels(objective, config, spec, train.classes),
        augment=host_augmentation(config),
        eval_transform=centre_crop(config),
        predict=make_predict,
    )


KIND = Kind("classification", build, open_task, centre_crop, SOURCES)
