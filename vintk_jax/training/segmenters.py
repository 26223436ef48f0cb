"""From a config to the segmenter that is trained: by its sizes, or an architecture that a search
found.
"""

import ml_collections

from vintk_jax.errors import UserError
from vintk_jax.models.segmenter import DECODERS, Segmenter
from vintk_jax.training.models import INITS, Trained, dtype_of, read_best

# that a model given by its sizes is divided into: what the convolutional decoder looks at
_STAGES = 3


def build_segmenter(config: ml_collections.ConfigDict, num_classes: int) -> Trained:
    """The model of a training's sections `model` and `segmentation`.

    Raises:
        UserError: for sizes that don't fit each other, or an architecture that is no segmenter.
    """
    model, own, size = config.model, config.segmentation, config.data.image_size
    if len(model.lengths) != 1 or size % model.lengths[0]:
        raise UserError(
            f"model.lengths={tuple(model.lengths)} came; a segmenter has one, which divides "
            f"data.image_size={size}."
        )
    if model.init not in INITS:
        raise UserError(f"model.init={model.init!r} came; {' or '.join(INITS)} was wanted.")
    dtype = dtype_of(model.dtype)
    if model.arch:
        space, arch = read_best(model.arch)
        found = space.model(arch, size, num_classes=num_classes)
        if not isinstance(found, Segmenter):
            raise UserError(
                f"model.arch={model.arch} is of {space.name}, no segmenter. `search --config "
                "configs/seg_space.py` finds one."
            )
        return Trained(
            found.clone(dtype=dtype, scan=False, remat=model.remat), (None,), size, model.init
        )
    if model.embed_dim % model.num_heads or own.decoder not in DECODERS or model.depth < _STAGES:
        raise UserError(
            f"model.embed_dim={model.embed_dim}, num_heads={model.num_heads}, depth={model.depth}, "
            f"segmentation.decoder={own.decoder!r} came; heads "
            f"that divide the width, {_STAGES} blocks at least, and one of {', '.join(DECODERS)} "
            "were wanted."
        )
    depths = tuple((model.depth + i) // _STAGES for i in range(_STAGES))
    hidden = int(model.embed_dim * model.mlp_ratio)
    found = Segmenter(
        embed_dim=model.embed_dim,
        depths=depths,
        num_heads=(model.num_heads,) * _STAGES,
        hidden=(hidden,) * _STAGES,
        head_dim=model.embed_dim // model.num_heads,
        num_classes=num_classes,
        patch_size=size // model.lengths[0],
        native_grid=(model.lengths[0],) * 2,
        decoders=(own.decoder,),
        conv_width=own.conv_width,
        mask_depth=own.mask_depth,
        mask_heads=model.num_heads,
        mask_hidden=hidden,
        dtype=dtype,
        remat=model.remat,
    )
    return Trained(found, (None,), size, model.init)
