"""Other people's weights as the variables of our models: one function.

    variables = load_weights("deit_small.pth", model, say=print)

What is missing, unknown or of another shape is named, all in one message; another patch size, token
grid or number of frames is resampled; another number of classes is refused unless the head is asked
to be drawn anew.
"""

import re
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
from vintk_jax.weights.pixels import folded, pixels_of
from vintk_jax.weights.rules import Mapped, Scheme, mapped

SCHEMES = (
    timm.SCHEME,
    autoformer.SCHEME,
    hugging_face.VIT,
    hugging_face.TIMESFORMER,
    hugging_face.BARE_VIT,
    google.SCHEME,
)
HEADS = ("file", "new")
# Names that say that a model has a part that ours don't.
_OTHER_MODELS = {
    "dist_token": "of a distilled DeiT, which has a second token and a second classifier",
    "distillation_token": "of a distilled DeiT, which has a second token and a second classifier",
    "reg_token": "of a ViT with registers",
    "register_tokens": "of a ViT with registers",
    "fc_norm": "of a ViT that averages its tokens ahead of the last norm",
    "lora_A": "adapters (LoRA) to a model, not a model",
}


def scheme_of(opened: Opened) -> Scheme:
    """The naming scheme of a file.

    Raises:
        UserError: for names that no scheme has.
    """
    found = next((scheme for scheme in SCHEMES if scheme.prefix(opened.arrays) is not None), None)
    if found is None:
        known = ", ".join(scheme.title for scheme in SCHEMES)
        raise UserError(
            f"{opened.path} has names of no known kind: {', '.join(list(opened.arrays)[:5])}, ... "
            f"Known are {known}."
        )
    return found


def check_parts(opened: Opened) -> None:
    """Refuse a model with a part that ours don't have, before its sizes are read.

    Raises:
        UserError: naming the part.
    """
    if other := _other_model(opened):
        raise UserError(
            f"{opened.path} is {other}; our models have none. Take the weights of one without it; "
            "timm and Hugging Face list them by name."
        )


def _other_model(opened: Opened) -> str:
    """What a file is, where a name in it says that it is none of ours; empty otherwise."""
    for part, model in _OTHER_MODELS.items():
        named = [name for name in opened.arrays if part in name.split(".")]
        if named:
            return f"{model} ({named[0]})"
    return ""


def load_weights(
    path: str | Path,
    model: nn.Module,
    *,
    head: str = "file",
    pixels: str = "",
    averaged: bool = True,
    key: jax.Array | None = None,
    say: Callable[[str], None] = lambda note: None,
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
        say: called with each thing that was changed to make them fit.

    Raises:
        UserError: for a file that can't be opened, or doesn't fit: naming all that is missing,
            unknown or of another shape.
    """
    if not isinstance(model, ViT | TimeSformer):
        raise UserError(
            f"{path} came for a {type(model).__name__}; weights of others are taken by a ViT or a "
            "TimeSformer."
        )
    if head not in HEADS:
        raise UserError(f"head={head!r} came; {' or '.join(HEADS)} was wanted.")
    opened = open_weights(path, averaged)
    for note in opened.notes:
        say(note)
    scheme = scheme_of(opened)
    if (scheme is hugging_face.TIMESFORMER) != isinstance(model, TimeSformer):
        raise UserError(
            f"{opened.path} is of {scheme.title}, the model is a {type(model).__name__}."
        )
    autoformer.check_settings(opened.settings, opened.path) if scheme.supernet else None
    found, shapes = mapped(opened, scheme, model.num_blocks), fit.wanted_shapes(model)
    plain = _drawn_head(found.arrays, shapes, key) if head == "new" else dict(found.arrays)
    missing = [path for path in shapes if path not in plain]
    if scheme.supernet and not missing:
        cut = autoformer.cut(traverse_util.unflatten_dict(plain, sep="/"), model)
        plain = traverse_util.flatten_dict(cut, sep="/")
    plain = fit.resampled(plain, model, say)
    _refuse(found, shapes, plain, missing, head, model)
    standard = pixels_of(pixels, opened.described, scheme.pixels)
    if standard is not None:
        names = ("patch_embed/kernel", "patch_embed/bias")
        before, after = (
            [plain[name] for name in names],
            folded(*(plain[name] for name in names), *standard),
        )
        plain |= dict(zip(names, after, strict=True))
        if np.abs(after[0] - before[0]).max() > 1e-6 * np.abs(before[0]).max():
            numbers = " and ".join(str(np.round(n, 4).tolist()) for n in standard)
            say(
                f"Its model standardises pixels by {numbers}; the patch kernel was changed to take "
                "ours (ImageNet's)."
            )
    if model.norm_grids:
        say(f"Each of the {len(model.norm_grids)} token lengths starts with the file's norms.")
    if head == "new":
        say(f"The classifier of {shapes['head/bias'][0]} classes was drawn anew.")
    return fit.assembled(plain, model)


def _drawn_head(
    arrays: fit.Plain, shapes: dict[str, tuple[int, ...]], key: jax.Array | None
) -> fit.Plain:
    key = jax.random.key(0) if key is None else key
    drawn = {
        "head/kernel": np.asarray(linear_init(key, shapes["head/kernel"])),
        "head/bias": np.zeros(shapes["head/bias"], np.float32),
    }
    return dict(arrays) | drawn


def _refuse(
    found: Mapped,
    shapes: dict[str, tuple[int, ...]],
    plain: fit.Plain,
    missing: list[str],
    head: str,
    model: ViT | TimeSformer,
) -> None:
    """Raises: UserError: naming everything that doesn't fit."""
    scheme, said = found.scheme, []
    lost = [name for path in missing for name in found.missing.get(path, (f"what makes {path}",))]
    beyond = [
        name
        for path, names in found.names.items()
        if path not in shapes
        for name in names
        if path not in found.missing
    ]
    beyond = [name for name in beyond if not (scheme.supernet and re.match(scheme.block, name))]
    left_out = scheme.head if head == "new" else ()
    extra = [
        name for name in dict.fromkeys((*found.unused, *beyond)) if not name.startswith(left_out)
    ]
    uncut = scheme.supernet and missing  # its shapes say nothing yet
    differ = (
        []
        if uncut
        else [
            path for path, shape in shapes.items() if path in plain and plain[path].shape != shape
        ]
    )
    classes = [
        path
        for path in differ
        if path.startswith("head/") and plain[path].shape[:-1] == shapes[path][:-1]
    ]
    if lost:
        said.append(f"missing are {', '.join(dict.fromkeys(lost))}")
    if extra:
        said.append(f"nothing in the model takes {', '.join(extra)}")
    if others := [path for path in differ if path not in classes]:

        def shaped(path):
            names = " + ".join(found.names[path])
            return f"{names} (as {path} {plain[path].shape} where {shapes[path]} is wanted)"

        said.append(f"of another shape are {', '.join(map(shaped, others))}")
    if classes:
        said.append(
            f"its classifier has {plain[classes[0]].shape[-1]} classes, the model "
            f"{shapes[classes[0]][-1]}"
        )
    there = heads_of(found)
    if there and there != (ours := model.num_heads[0]) and not scheme.supernet:
        said.append(f"its blocks have {there} heads, the model's {ours}")
    if other := _other_model(found.opened):
        said.append(f"it is {other}")
    if said:
        of_head = (
            (*lost, *extra)
            and all(name.startswith(scheme.head) for name in (*lost, *extra))
            and not others
        )
        hint = (
            " head=new draws another (--config.model.weights_head=new)."
            if head == "file" and (classes or of_head)
            else ""
        )
        raise UserError(
            f"{found.opened.path} ({scheme.title}) doesn't fit the model: {'; '.join(said)}.{hint}"
        )


def heads_of(found: Mapped) -> int:
    """Heads of a block, where the file or what lies beside it says so; 0 otherwise."""
    for name, array in found.opened.arrays.items():
        if name.endswith("/query/kernel"):
            return array.shape[-2]
    return int(found.opened.described.get("num_attention_heads") or 0)
