"""From images to an adaptive model in one run: the data, the time, and what is given already."""

import dataclasses

import ml_collections

from vintk_jax.defaults.adaptive import BUDGET
from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.export import EXPORT
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.rules import (
    CHECKED_WHERE_USED,
    COUNT_OR_ZERO,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    choice,
)
from vintk_jax.defaults.training import TRAINING

ADAPT = {
    "seed": Field(0, "the seed of every stage", SEED),
    "time_h": Field(
        0.08,
        "hours that the whole may take; sizes are chosen by it. The digits want 0.08, a folder of "
        "10,000 photographs 0.5 or more",
        POSITIVE,
    ),
    "data.source": TRAINING["data.source"],
    "given.arch": Field("", "best.json of a search: nothing is searched then", CHECKED_WHERE_USED),
    "given.weights": Field(
        "",
        "a file of weights to begin from (timm's, DeiT's, AugReg's: docs/weights.md); nothing is "
        "searched then",
        CHECKED_WHERE_USED,
    ),
    "given.model": Field(
        "",
        "workdir of a training of several token lengths: nothing is searched or trained then",
        CHECKED_WHERE_USED,
    ),
    "plan.image_size": Field(
        0, "pixels a side; 0: chosen from the images and the time", COUNT_OR_ZERO
    ),
    "plan.lengths": Field(
        (), "tokens a side of each length, longest first; empty: chosen", CHECKED_WHERE_USED
    ),
    "plan.candidates": Field(0, "architectures to search; 0: chosen", COUNT_OR_ZERO),
    "plan.max_flops_m": Field(
        0.0,
        "millions of multiply-adds of the largest architecture (at 64 px, 8 x 8 tokens); 0: chosen",
        NOT_NEGATIVE,
    ),
    "plan.epochs": Field(0.0, "passes over the training images; 0: chosen", NOT_NEGATIVE),
    "plan.batch_size": Field(0, "images a step; 0: chosen", COUNT_OR_ZERO),
    "plan.flip": Field(
        "auto",
        "whether half of the images are mirrored in training; auto: all but the digits'",
        choice("auto", "yes", "no"),
    ),
    **BUDGET,
    "budget.max_drop": dataclasses.replace(BUDGET["budget.max_drop"], default=0.5),
    "license": EXPORT["license"],
    **COMPILE_CACHE,
}


def adapt() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.adapt`, set for the embedded digits."""
    return filled(ADAPT)
