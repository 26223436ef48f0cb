"""Assigning token lengths, and inference by them: labels, assigner, budget, engine, comparison."""

import ml_collections

from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.predicting import CHECKPOINT, IMAGES
from vintk_jax.defaults.rules import (
    BATCH_SIZES,
    CHECKED_WHERE_USED,
    COUNT,
    COUNT_OR_ZERO,
    HALF_TO_BELOW_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE,
    choice,
    number,
    several,
)

LABELS = {
    "labels.split": Field(
        "assign",
        "images that the assigner learns from; the model must not have been trained on them",
        CHECKED_WHERE_USED,
    ),
    "labels.folds": Field(
        0,
        "number of parts of the training images: the assigner learns from these instead, each "
        "part labelled by a model that is trained without it; 0: from labels.split",
        COUNT_OR_ZERO,
    ),
    "labels.none_right": Field(
        "shortest",
        "label of an image that no length is right about; drop: leave the image out",
        choice("shortest", "longest", "drop"),
    ),
    "labels.allow_training_images": Field(
        False,
        "learn from images that the model was trained on; labels are too short then",
        CHECKED_WHERE_USED,
    ),
    "labels.calibrate_split": Field(
        "",
        "other images, which thresholds are set by; empty: labels.split, each image by an "
        "assigner that has not learned from it",
        CHECKED_WHERE_USED,
    ),
}

ASSIGNER = {
    "tla.kind": Field(
        "shared",
        "what the assigner reads: what the model's passes have computed (shared), only how sure "
        "they are (confidence), or a thumbnail, by a small cnn or vit",
        choice("shared", "confidence", "cnn", "vit"),
    ),
    "tla.target": Field(
        "smallest",
        "what it predicts: the smallest length at which the model is right (smallest), or right "
        "or wrong at each length (each)",
        choice("smallest", "each"),
    ),
    "tla.again": Field(
        True,
        "with kind=shared or confidence: predict again after each pass but the longest; False: "
        "once, after the first",
        CHECKED_WHERE_USED,
    ),
    "tla.keep": Field(
        0.3,
        "with kind=shared or confidence: weight of what shorter passes predict in what a longer "
        "one predicts",
        SHARE,
    ),
    "tla.width": Field(64, "width of its layers", COUNT),
    "tla.thumbnail": Field(16, "pixels a side of a thumbnail", COUNT),
    "tla.costs": Field(
        "multiply_adds",
        "what a length costs: its multiply-adds, the same everywhere (multiply_adds), or its time "
        "on this machine in batches of data.batch_size, measured once (clock)",
        choice("multiply_adds", "clock"),
    ),
    "tla.epochs": Field(20.0, "passes over the labels", POSITIVE),
    "tla.batch_size": Field(128, "labels a step", COUNT),
    "tla.learning_rate": Field(1e-3, "highest learning rate", POSITIVE),
    "tla.weight_decay": Field(0.05, "weight decay of AdamW", NOT_NEGATIVE),
    "tla.cost_weight": Field(
        0.0, "weight of the expected cost in the loss, beside the cross-entropy", NOT_NEGATIVE
    ),
}

BUDGET = {
    "budget.max_drop": Field(
        0.2,
        "percentage points that accuracy may be below the longest length's; inf: no limit",
        number(0, infinite=True),
    ),
    "budget.confidence": Field(
        0.9,
        "how sure it is that max_drop is kept on new images, by the spread over the images that "
        "thresholds are set by; 0.5 takes them as they are",
        HALF_TO_BELOW_ONE,
    ),
    "budget.by": Field(
        "measured",
        "what keeps max_drop: the drop on the images that thresholds are set by, with its spread "
        "(measured), or an exact limit for new images, which needs many (promised)",
        choice("measured", "promised"),
    ),
    "budget.max_cost": Field(
        1.0, "share of what the longest length costs (tla.costs)", number(0, above=True)
    ),
}

COMPARISON = {
    "engine.max_wait_ms": Field(
        20.0, "milliseconds that an image may wait for others at each step", NOT_NEGATIVE
    ),
    "engine.batch_sizes": Field(
        (1, 8), "batch sizes beside the full batch that programs are compiled for", BATCH_SIZES
    ),
    "compare.images": Field(2000, "images that methods are compared on, the first ones", COUNT),
    "compare.rounds": Field(
        5, "timed runs of every method, in turn; 0: predict and compare nothing", COUNT_OR_ZERO
    ),
    "compare.drops": Field(
        (0.5, 1.0, 2.0),
        "further values of max_drop at which methods that have a setting are compared",
        several(number(0, 2**31), "numbers of percentage points"),
    ),
}

ADAPTIVE = {
    "seed": Field(
        0, "draws the assigner's weights and batches, and what is random in the comparison", SEED
    ),
    **CHECKPOINT,
    **LABELS,
    **ASSIGNER,
    **BUDGET,
    **IMAGES,
    **COMPARISON,
    **COMPILE_CACHE,
}


def adaptive() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.assign` and of adaptive `vintk_jax.infer`, set for the embedded
    digits.
    """
    return filled(ADAPTIVE)
