"""What about a file of weights doesn't fit a model, all in one message."""

import re

from vintk_jax.errors import UserError
from vintk_jax.models.timesformer import TimeSformer
from vintk_jax.models.vit import ViT
from vintk_jax.weights.files import Opened
from vintk_jax.weights.fit import Plain
from vintk_jax.weights.rules import Mapped

Shapes = dict[str, tuple[int, ...]]
# Names that say that a model has a part that ours don't.
_OTHER_MODELS = {
    "dist_token": "of a distilled DeiT, which has a second token and a second classifier",
    "distillation_token": "of a distilled DeiT, which has a second token and a second classifier",
    "reg_token": "of a ViT with registers",
    "register_tokens": "of a ViT with registers",
    "fc_norm": "of a ViT that averages its tokens ahead of the last norm",
    "lora_A": "adapters (LoRA) to a model, not a model",
}


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
    """What kind of model a file is, where a name in it says that it is none of ours. Empty
    otherwise.
    """
    for part, model in _OTHER_MODELS.items():
        named = [name for name in opened.arrays if part in name.split(".")]
        if named:
            return f"{model} ({named[0]})"
    return ""


def check_fit(
    named: Mapped,
    shapes: Shapes,
    arrays: Plain,
    missing: list[str],
    head: str,
    model: ViT | TimeSformer,
) -> None:
    """Refuse weights that don't fit a model.

    Args:
        named: the file's weights under our paths.
        shapes: that the model has, by path.
        arrays: the weights, cut and resampled for the model.
        missing: paths that the file has nothing for.
        head: "file", or "new" where the file's classifier is left out.

    Raises:
        UserError: naming everything that is missing, unknown or of another shape.
    """
    scheme = named.scheme
    lost = _lost(named, missing)
    extra = _extra(named, shapes, head)
    # The shapes of a supernet say nothing as long as it isn't cut.
    uncut = scheme.supernet and missing
    differing = [] if uncut else _differing(shapes, arrays)
    classes = [path for path in differing if _is_other_classes(path, shapes, arrays)]
    others = [path for path in differing if path not in classes]
    faults = []
    if lost:
        faults.append(f"missing are {', '.join(lost)}")
    if extra:
        faults.append(f"nothing in the model takes {', '.join(extra)}")
    if others:
        shaped = [_shaped(named, path, shapes, arrays) for path in others]
        faults.append(f"of another shape are {', '.join(shaped)}")
    if classes:
        faults.append(
            f"its classifier has {arrays[classes[0]].shape[-1]} classes, the model "
            f"{shapes[classes[0]][-1]}"
        )
    heads = heads_of(named)
    if heads and heads != model.num_heads[0] and not scheme.supernet:
        faults.append(f"its blocks have {heads} heads, the model's {model.num_heads[0]}")
    other_model = _other_model(named.opened)
    if other_model:
        faults.append(f"it is {other_model}")
    if not faults:
        return
    strange = [*lost, *extra]
    only_head = strange and not others and all(name.startswith(scheme.head) for name in strange)
    hint = ""
    if head == "file" and (classes or only_head):
        hint = " head=new draws another (--config.model.weights_head=new)."
    raise UserError(
        f"{named.opened.path} ({scheme.title}) doesn't fit the model: {'; '.join(faults)}.{hint}"
    )


def _lost(named: Mapped, missing: list[str]) -> list[str]:
    """The file's names for what is missing, each once."""
    names = [name for path in missing for name in named.missing.get(path, (f"what makes {path}",))]
    return list(dict.fromkeys(names))


def _extra(named: Mapped, shapes: Shapes, head: str) -> list[str]:
    """The file's names that nothing in the model takes, each once."""
    scheme = named.scheme
    beyond = [
        name
        for path, names in named.names.items()
        if path not in shapes and path not in named.missing
        for name in names
    ]
    if scheme.supernet:  # deeper than its architectures
        beyond = [name for name in beyond if not re.match(scheme.block, name)]
    left_out = scheme.head if head == "new" else ()
    names = dict.fromkeys((*named.unused, *beyond))
    return [name for name in names if not name.startswith(left_out)]


def _differing(shapes: Shapes, arrays: Plain) -> list[str]:
    """Paths of weights that have another shape than the model's."""
    return [
        path for path, shape in shapes.items() if path in arrays and arrays[path].shape != shape
    ]


def _is_other_classes(path: str, shapes: Shapes, arrays: Plain) -> bool:
    """Whether a weight differs in the number of classes alone."""
    return path.startswith("head/") and arrays[path].shape[:-1] == shapes[path][:-1]


def _shaped(named: Mapped, path: str, shapes: Shapes, arrays: Plain) -> str:
    names = " + ".join(named.names[path])
    return f"{names} (as {path} {arrays[path].shape} where {shapes[path]} is wanted)"


def heads_of(named: Mapped) -> int:
    """Heads of a block, where the file or a file beside it says so. 0 otherwise."""
    for name, array in named.opened.arrays.items():
        if name.endswith("/query/kernel"):
            return array.shape[-2]
    return int(named.opened.described.get("num_attention_heads") or 0)
