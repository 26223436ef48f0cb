"""What every setting may be: one table, checked when a command line is read, before data is opened
or anything is written.

A rule looks at one field alone; what fields have to do with each other, with data or with a model
is checked where that is known. A new field of a number or a choice gets a line here (a test asks
for it).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_collections

from vintk_jax.errors import UserError, nearest


class Rule(NamedTuple):
    """What a field may be.

    Attributes:
        allows: whether it allows a value.
        wanted: what was wanted, for the message.
        choices: of a word.
    """

    allows: Callable[[Any], bool]
    wanted: str
    choices: tuple[str, ...] = ()


def _range(
    low: int | float,
    high: int | float = math.inf,
    *,
    open_below: bool = False,
    infinite: bool = False,
    whole: bool = False,
) -> Rule:
    """A number from low to high; NaN is none, and infinity only where it means no limit."""
    kind = "a whole number" if whole else "a number"

    def allows(value: Any) -> bool:
        known = int if whole else int | float
        if isinstance(value, bool) or not isinstance(value, known) or math.isnan(value):
            return False
        if math.isinf(value):
            return infinite and value > 0
        return (low < value if open_below else low <= value) and value <= high

    if high == math.inf:
        wanted = f"{kind} above {low:g}" if open_below else f"{kind} of {low:g} at least"
    else:
        wanted = f"{kind} from {low:g}{' (excluded)' if open_below else ''} to {high:g}"
    return Rule(allows, wanted + (", or inf" if infinite else ""))


def _choice(*words: str) -> Rule:
    named = [word or "nothing" for word in words]
    wanted = " or ".join(named) if len(named) == 2 else f"one of {', '.join(named)}"
    return Rule(lambda value: value in words, wanted, words)


def _numbers(
    low: int | float, what: str, *, some: bool = False, whole: bool = True, high: int = 2**31
) -> Rule:
    """A tuple of (whole) numbers from low to high; with `some`, one at least."""
    each = _range(low, high, whole=whole)

    def allows(value: Any) -> bool:
        listed = isinstance(value, tuple | list) and (bool(value) or not some)
        return listed and all(each.allows(one) for one in value)

    return Rule(allows, f"{what}, each of {low:g} at least")


def _ascending(low: int | float, what: str) -> Rule:
    """Two numbers or more from low on, none below the one before."""
    each = _range(low)

    def allows(value: Any) -> bool:
        listed = isinstance(value, tuple | list) and len(value) >= 2
        return listed and all(map(each.allows, value)) and list(value) == sorted(value)

    return Rule(allows, f"{what}, from small to large, of {low:g} at least")


COUNT, NATURAL = _range(1, whole=True), _range(0, whole=True)
POSITIVE, NOT_NEGATIVE, SHARE = _range(0, open_below=True), _range(0), _range(0, 1)
BELOW_ONE = Rule(
    lambda value: NOT_NEGATIVE.allows(value) and value < 1, "a number from 0 to 1 (excluded)"
)
# Seeds are those that NumPy and JAX both take.
SEED = _range(0, 2**32 - 1, whole=True)

RULES: Mapping[str, Rule] = {
    "seed": SEED,
    "seeds": COUNT,
    "log_every": COUNT,
    "num_draws": COUNT,
    "batch_size": NATURAL,
    "num_heads": NATURAL,
    "num_architectures": NATURAL,
    "checkpoint": _choice("best", "last"),
    "pool": _choice("token", "mean"),
    "dtype": _choice("float32", "bfloat16"),
    "pixels": _choice("", "imagenet", "half", "kinetics"),
    "adaptive": _choice("auto", "yes", "no"),
    "search.algorithm": _choice("random", "nsga2", "exhaustive"),
    "search.num_candidates": COUNT,
    "search.population": _range(2, whole=True),
    "search.batch_size": NATURAL,
    "search.lease_s": POSITIVE,
    "search.storage": Rule(
        lambda value: value == "" or (isinstance(value, str) and "://" in value),
        "nothing, or an address such as sqlite:///trials.db or postgresql://...",
    ),
    "limits.max_params_m": NOT_NEGATIVE,
    "limits.max_flops_m": NOT_NEGATIVE,
    "limits.max_latency_ms": NOT_NEGATIVE,
    "inputs.num_images": _range(2, whole=True),
    "inputs.image_size": COUNT,
    "fourier.mode": _choice("pixel", "patch", "coords"),
    "fourier.num_features": _range(2, whole=True),
    "fourier.sigma": POSITIVE,
    "ntk.implementation": _choice("structured", "neural_tangents", "neural_tangents_ntvp"),
    "ntk.cotangent": _choice("sum", "random", "full"),
    "ntk.num_directions": COUNT,
    "ntk.num_seeds": COUNT,
    "ntk.num_classes": COUNT,
    "ntk.dtype": _choice("float32", "float64"),
    "ntk.memory_gb": NOT_NEGATIVE,
    "data.image_size": NATURAL,
    "data.batch_size": COUNT,
    "data.crop_ratio": _range(0, 1, open_below=True),
    "data.threads": _range(0, 1024, whole=True),
    "model.embed_dim": COUNT,
    "model.depth": COUNT,
    "model.num_heads": COUNT,
    "model.mlp_ratio": _range(0.01, 1024),
    "model.pool": _choice("token", "mean"),
    "model.stem_width": NATURAL,
    "model.residual_scale": POSITIVE,
    "model.patch_size": NATURAL,
    "model.init": _choice("fan_in", "deit"),
    "model.weights_head": _choice("file", "new"),
    "model.weights_pixels": _choice("", "imagenet", "half", "kinetics"),
    "model.dtype": _choice("float32", "bfloat16"),
    "loss.label_smoothing": BELOW_ONE,
    "loss.distill": SHARE,
    "loss.token_weight": NOT_NEGATIVE,
    "loss.drop_path": BELOW_ONE,
    "augment.resized_crop": SHARE,
    "augment.padding": NATURAL,
    "augment.randaugment_ops": NATURAL,
    "augment.randaugment_magnitude": _range(0, 10),
    "augment.erasing": SHARE,
    "augment.mixup": NOT_NEGATIVE,
    "augment.cutmix": NOT_NEGATIVE,
    "formats": Rule(
        lambda value: (
            bool(value)
            and isinstance(value, tuple | list)
            and all(one in ("stablehlo", "onnx", "timm") for one in value)
        ),
        "one or more of stablehlo, onnx, timm",
    ),
    "optimizer.name": _choice("muon", "adamw"),
    "optimizer.epochs": NOT_NEGATIVE,
    "optimizer.steps": NATURAL,
    "optimizer.learning_rate": POSITIVE,
    "optimizer.warmup": SHARE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.beta2": BELOW_ONE,
    "optimizer.clip_norm": NOT_NEGATIVE,
    "optimizer.layer_decay": _range(0, 1, open_below=True),
    "optimizer.accumulate": NATURAL,
    "optimizer.ema": BELOW_ONE,
    "mesh.data": Rule(
        lambda value: value == -1 or COUNT.allows(value), "a number of devices, or -1"
    ),
    "mesh.fsdp": COUNT,
    "mesh.tensor": COUNT,
    "checkpoints.every_epochs": POSITIVE,
    "clips.frames": COUNT,
    "clips.stretch": NATURAL,
    "clips.views": COUNT,
    "clips.crops": COUNT,
    "clips.attention": _choice("divided", "joint", "space"),
    "segmentation.decoder": _choice("linear", "mask", "conv"),
    "segmentation.mask_depth": COUNT,
    "segmentation.conv_width": COUNT,
    "segmentation.labels": _numbers(0, "whole numbers", high=255),
    "segmentation.ignore": _numbers(0, "whole numbers", high=255),
    "segmentation.scale": _ascending(0.01, "two factors"),
    "segmentation.evaluation": _choice("whole", "sliding"),
    "segmentation.height": NATURAL,
    "segmentation.width": NATURAL,
    "labels.folds": NATURAL,
    "labels.none_right": _choice("shortest", "longest", "drop"),
    "tla.kind": _choice("shared", "cnn", "vit"),
    "tla.target": _choice("smallest", "each"),
    "tla.keep": SHARE,
    "tla.width": COUNT,
    "tla.thumbnail": COUNT,
    "tla.epochs": POSITIVE,
    "tla.batch_size": COUNT,
    "tla.learning_rate": POSITIVE,
    "tla.weight_decay": NOT_NEGATIVE,
    "tla.cost_weight": NOT_NEGATIVE,
    "budget.max_drop": Rule(
        lambda value: value == -1 or _range(0, infinite=True).allows(value),
        "a number of percentage points of 0 at least, or inf",
    ),
    "budget.confidence": BELOW_ONE,
    "budget.by": _choice("measured", "promised"),
    "budget.max_cost": _range(0, open_below=True),
    "engine.max_wait_ms": NOT_NEGATIVE,
    "engine.batch_sizes": _numbers(1, "numbers of images"),
    "compare.images": COUNT,
    "compare.rounds": NATURAL,
    "compare.drops": _numbers(0, "numbers of percentage points", whole=False),
    "signals.num_images": _range(2, whole=True),
    "signals.image_size": COUNT,
    "signals.cycles": _numbers(1, "numbers of cycles", some=True),
    "signals.band_edges": _ascending(0, "edges of bands"),
    "kernel.num_directions": COUNT,
    "kernel.top": COUNT,
    "train.steps": COUNT,
    "train.learning_rate": POSITIVE,
    "compile_cache.max_gb": NOT_NEGATIVE,
}


def check(config: ml_collections.ConfigDict, prefix: str = "") -> None:
    """Refuse a config with a value that can't be meant.

    Raises:
        UserError: one message that names every such field.
    """
    wrong = list(_wrong(config, prefix))
    if wrong:
        raise UserError(" ".join(wrong))


def _wrong(config: ml_collections.ConfigDict, prefix: str):
    for name, value in config.items():
        field = f"{prefix}{name}"
        if isinstance(value, ml_collections.ConfigDict):
            yield from _wrong(value, f"{field}.")
        elif isinstance(value, float) and math.isnan(value):
            yield f"{field}=nan came; a number was wanted."
        elif field in RULES and not RULES[field].allows(value):
            rule = RULES[field]
            hint = nearest(value, rule.choices) if isinstance(value, str) and rule.choices else ""
            yield f"{field}={value!r} came; {rule.wanted} was wanted.{hint}"
