"""The segmenter that is trained: by its sizes, or an architecture that a search found."""

import ml_collections

from vintk_jax.errors import UserError
from vintk_jax.models.segmenter import DECODERS, Segmenter
from vintk_jax.tasks.architecture import read_best
from vintk_jax.tasks.model_spec import INITS, ModelSpec, dtype_of

# A model given by its sizes has so many stages: what the convolutional decoder reads.
_STAGES = 3


def build(config: ml_collections.ConfigDict, num_classes: int) -> ModelSpec:
    """The model of a training's sections `model` and `segmentation`.

    Raises:
        UserError: for sizes that don't fit each other, or an architecture that is no segmenter.
    """
    model = config.model
    image_size = config.data.image_size
    if len(model.lengths) != 1 or image_size % model.lengths[0]:
        raise UserError(
            "A segmenter has one length. Expected model.lengths to be one number that divides "
            f"data.image_size={image_size}, got {tuple(model.lengths)}."
        )
    if model.init not in INITS:
        raise UserError(f"Expected model.init to be {' or '.join(INITS)}, got {model.init!r}.")
    if model.arch:
        segmenter = _searched(model, num_classes, image_size)
    else:
        segmenter = _by_sizes(model, config.segmentation, num_classes, image_size)
    return ModelSpec(segmenter, (None,), image_size, model.init)


def _searched(model: ml_collections.ConfigDict, num_classes: int, image_size: int) -> Segmenter:
    """The model of a search's best.json."""
    space, arch = read_best(model.arch)
    segmenter = space.model(arch, image_size, num_classes=num_classes)
    if not isinstance(segmenter, Segmenter):
        raise UserError(
            f"model.arch={model.arch} is of {space.name}, no segmenter. `search --config "
            "configs/seg_space.py` finds one."
        )
    return segmenter.clone(dtype=dtype_of(model.dtype), scan=False, remat=model.remat)


def _by_sizes(
    model: ml_collections.ConfigDict,
    section: ml_collections.ConfigDict,
    num_classes: int,
    image_size: int,
) -> Segmenter:
    if (
        model.embed_dim % model.num_heads
        or section.decoder not in DECODERS
        or model.depth < _STAGES
    ):
        raise UserError(
            f"Expected heads that divide the width, {_STAGES} blocks at least, and one of the "
            f"decoders {', '.join(DECODERS)}, got model.embed_dim={model.embed_dim}, "
            f"num_heads={model.num_heads}, depth={model.depth}, "
            f"segmentation.decoder={section.decoder!r}."
        )
    hidden = int(model.embed_dim * model.mlp_ratio)
    return Segmenter(
        embed_dim=model.embed_dim,
        depths=tuple((model.depth + i) // _STAGES for i in range(_STAGES)),
        num_heads=(model.num_heads,) * _STAGES,
        hidden=(hidden,) * _STAGES,
        head_dim=model.embed_dim // model.num_heads,
        num_classes=num_classes,
        patch_size=image_size // model.lengths[0],
        native_grid=(model.lengths[0],) * 2,
        decoders=(section.decoder,),
        conv_width=section.conv_width,
        mask_depth=section.mask_depth,
        mask_heads=model.num_heads,
        mask_hidden=hidden,
        dtype=dtype_of(model.dtype),
        remat=model.remat,
    )
