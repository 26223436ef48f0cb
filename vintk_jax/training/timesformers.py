"""From a config to the video model that is trained: a TimeSformer, by its sizes or as a search
found it, at one length of space and time or several.
"""

from collections.abc import Callable
from typing import Any

import jax
import ml_collections
from jaxtyping import Array, Shaped

from vintk_jax.errors import UserError
from vintk_jax.models.timesformer import ATTENTIONS, TimeSformer
from vintk_jax.training.models import INITS, Trained, dtype_of, read_best


def build_timesformer(config: ml_collections.ConfigDict, num_classes: int) -> Trained:
    """The model of a training's sections `model` and `clips`.

    Raises:
        UserError: for sizes that don't fit each other.
    """
    model, own, size = config.model, config.clips, config.data.image_size
    lengths = tuple((int(frames), int(side)) for frames, side in own.lengths)
    tokens = [frames * side**2 for frames, side in lengths]
    fit = all(1 <= frames <= own.frames and 1 <= side <= size for frames, side in lengths)
    if not lengths or tokens != sorted(set(tokens), reverse=True) or not fit:
        raise UserError(
            f"clips.lengths={lengths} came; pairs of frames (up to clips.frames={own.frames}) and "
            "tokens a side, the most tokens first and no two "
            "with as many, were wanted."
        )
    if own.attention not in ATTENTIONS or model.init not in INITS:
        raise UserError(
            f"model.init={model.init!r}, clips.attention={own.attention!r} came; "
            f"{' or '.join(INITS)}, and one of {', '.join(ATTENTIONS)} were wanted."
        )
    if own.views < 1 or own.crops < 1 or (own.views > 1 and not own.stretch):
        raise UserError(
            f"clips.views={own.views}, crops={own.crops}, stretch={own.stretch} came; one at "
            "least, and several views only of clips.stretch frames "
            "each: those of the whole clip would be the same."
        )
    grids = tuple((frames, side, side) for frames, side in lengths)
    found = (_found(model, num_classes) if model.arch else _by_sizes(model, num_classes)).clone(
        patch_size=model.patch_size or round(size / lengths[0][1]),
        native_grid=(max(side for _, side in lengths),) * 2,
        native_frames=own.frames,
        attention=own.attention,
        norm_grids=grids if model.separate_norms and len(grids) > 1 else (),
        dtype=dtype_of(model.dtype),
        scan=model.scan,
        remat=model.remat,
    )
    return Trained(found, grids, size, model.init, own.frames, own.views * own.crops)


def over_views(
    run: Callable[[Shaped[Array, "n *shape"]], Any], clips: Shaped[Array, "n *shape"]
) -> Any:
    """What `run` gives for each clip; for clips in several views, the mean over these. Images pass
    through.
    """
    if clips.ndim < 6:
        return run(clips)
    found = run(clips.reshape(-1, *clips.shape[2:]))
    return jax.tree.map(
        lambda array: array.reshape(*clips.shape[:2], *array.shape[1:]).mean(axis=1), found
    )


def _found(model: ml_collections.ConfigDict, num_classes: int) -> TimeSformer:
    space, arch = read_best(model.arch)
    found = space.model(arch, num_classes=num_classes)
    if not isinstance(found, TimeSformer):
        raise UserError(
            f"model.arch={model.arch} is of {space.name}, no video model. `search --config "
            "configs/clip_space.py` finds one."
        )
    return found


def _by_sizes(model: ml_collections.ConfigDict, num_classes: int) -> TimeSformer:
    if model.embed_dim % model.num_heads:
        raise UserError(
            f"model.embed_dim={model.embed_dim}, num_heads={model.num_heads} came; heads that "
            "divide the width were wanted."
        )
    return TimeSformer(
        embed_dim=model.embed_dim,
        num_heads=(model.num_heads,) * model.depth,
        hidden=(int(model.embed_dim * model.mlp_ratio),) * model.depth,
        head_dim=model.embed_dim // model.num_heads,
        num_classes=num_classes,
    )
