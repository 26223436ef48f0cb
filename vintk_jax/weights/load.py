"""Other people's weights as the variables of our models: one function.

    variables = load_weights("deit_small.pth", model, say=print)

What is missing, unknown or of another shape is named, all in one message; another patch size, token
grid or number of frames is resampled; another number of classes is refused unless the head is asked
to be drawn anew.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from flax import traverse_util

from vintk_jax.errors import UserError
from vintk_jax.models.layers import linear_init
from vintk_jax.models.timesformer import TimeSformer
from vintk_jax.models.vit import ViT
from vintk_jax.weights import autoformer, fit, google, hugging_face, timm
from vintk_jax.weights.files import Opened, open_weights
from vintk_jax.weights.mismatch import check_fit
from vintk_jax.weights.pixels import folded, pixels_of
from vintk_jax.weights.rules import Scheme, mapped

SCHEMES = (
    timm.SCHEME,
    autoformer.SCHEME,
    hugging_face.VIT,
    hugging_face.TIMESFORMER,
    hugging_face.BARE_VIT,
    google.SCHEME,
)
HEADS = ("file", "new")


def scheme_of(opened: Opened) -> Scheme:
    """The naming scheme of a file.

    Raises:
        UserError: for names that no scheme has.
    """
    for scheme in SCHEMES:
        if scheme.prefix(opened.arrays) is not None:
            return scheme
    known = ", ".join(scheme.title for scheme in SCHEMES)
    raise UserError(
        f"{opened.path} has names of no known kind: {', '.join(list(opened.arrays)[:5])}, ... "
        f"Known are {known}."
    )


def load_weights(
    path: str | Path,
    model: nn.Module,
    *,
    head: str = "file",
    pixels: str = "",
    averaged: bool = True,
    key: jax.Array | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Variables of a model from a file of timm or DeiT, Google (.npz), Hugging Face, or from
    AutoFormer's supernet.

    Args:
        path: a .safetensors, .pth or .npz file, or a folder downloaded from Hugging Face.
        model: a `ViT`, or a `TimeSformer` for a file of one. Its sizes decide what is cut out of a
            supernet.
        head: "file", or "new" to draw the classifier and leave the file's out.
        pixels: how the file's model has its pixels standardised, a name in `pixels.KNOWN`; empty:
            as the JSON files beside it say, else as its source usually does. Ours are standardised
            by ImageNet's numbers; the difference goes into the patch kernel. "own" leaves that as
            it is, for a model that is called with pixels as the file's.
        averaged: whether the running mean is taken where the file holds both it and the last step's
            weights.
        key: draws a new head.
        say: called with each thing that was changed to make them fit; None for nobody.

    Raises:
        UserError: for a file that can't be opened, or doesn't fit: naming all that is missing,
            unknown or of another shape.
    """
    if not isinstance(model, ViT | TimeSformer):
        raise UserError(
            f"Expected a ViT or a TimeSformer for the weights of {path}, got a "
            f"{type(model).__name__}."
        )
    if head not in HEADS:
        raise UserError(f"Expected head to be {' or '.join(HEADS)}, got {head!r}.")
    if say is None:
        say = _ignore
    opened = open_weights(path, averaged)
    for note in opened.notes:
        say(note)
    scheme = scheme_of(opened)
    _check_kind(opened, scheme, model)
    named = mapped(opened, scheme, model.num_blocks)
    shapes = fit.wanted_shapes(model)
    arrays = dict(named.arrays)
    if head == "new":
        arrays |= _drawn_head(shapes, key)
    reused = [path for path in shapes if path.startswith("reuse/")]
    arrays |= _drawn_reuse({path: shapes[path] for path in reused}, key)
    missing = [path for path in shapes if path not in arrays]
    if scheme.supernet and not missing:
        cut = autoformer.cut(traverse_util.unflatten_dict(arrays, sep="/"), model)
        arrays = traverse_util.flatten_dict(cut, sep="/")
    arrays = fit.resampled(arrays, model, say)
    check_fit(named, shapes, arrays, missing, head, model)
    standard = pixels_of(pixels, opened.described, scheme.pixels)
    if standard is not None:
        arrays = _with_pixels(arrays, standard, say)
    if model.norm_grids:
        say(f"Each of the {len(model.norm_grids)} token lengths starts with the file's norms.")
    if head == "new":
        say(f"The classifier of {shapes['head/bias'][0]} classes was drawn anew.")
    if reused:
        say("What a second pass adds of the first was drawn anew: nothing, to begin with.")
    return fit.assembled(arrays, model)


def _check_kind(opened: Opened, scheme: Scheme, model: ViT | TimeSformer) -> None:
    """Refuse weights of images for a model of clips and the other way round, and a supernet that
    was trained with other settings than the published ones.
    """
    if (scheme is hugging_face.TIMESFORMER) != isinstance(model, TimeSformer):
        raise UserError(
            f"{opened.path} is of {scheme.title}, the model is a {type(model).__name__}."
        )
    if scheme.supernet:
        autoformer.check_settings(opened.settings, opened.path)


def _ignore(note: str) -> None:
    """Nobody is told."""


def _drawn_head(shapes: dict[str, tuple[int, ...]], key: jax.Array | None) -> fit.Plain:
    """A new classifier."""
    key = jax.random.key(0) if key is None else key
    return {
        "head/kernel": np.asarray(linear_init(key, shapes["head/kernel"])),
        "head/bias": np.zeros(shapes["head/bias"], np.float32),
    }


def _drawn_reuse(shapes: dict[str, tuple[int, ...]], key: jax.Array | None) -> fit.Plain:
    """The two layers of `models.regions.Reuse`, of which the second is zero."""
    key = jax.random.fold_in(jax.random.key(0) if key is None else key, 1)
    return {
        path: np.asarray(linear_init(key, shape))
        if path == "reuse/fc1/kernel"
        else np.zeros(shape, np.float32)
        for path, shape in shapes.items()
    }


def _with_pixels(
    arrays: fit.Plain,
    standard: tuple[np.ndarray, np.ndarray],
    say: Callable[[str], None],
) -> fit.Plain:
    """The patch kernel changed to take pixels standardised as ours.

    Args:
        standard: the means and deviations that the file's model has its pixels standardised by.
    """
    before = arrays["patch_embed/kernel"]
    kernel, bias = folded(before, arrays["patch_embed/bias"], *standard)
    if np.abs(kernel - before).max() > 1e-6 * np.abs(before).max():
        numbers = " and ".join(str(np.round(n, 4).tolist()) for n in standard)
        say(
            f"Its model standardises pixels by {numbers}; the patch kernel was changed to take "
            "ours (ImageNet's)."
        )
    return {**arrays, "patch_embed/kernel": kernel, "patch_embed/bias": bias}
