"""A trained model as a folder that runs without vintk_jax."""

import dataclasses

import ml_collections

from vintk_jax.defaults.adaptive import BUDGET
from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.predicting import CHECKPOINT
from vintk_jax.defaults.rules import CHECKED_WHERE_USED, choice, exactly_or, number, several

EXPORT = {
    **CHECKPOINT,
    "folder": Field("", "folder to write; empty: export/ in the workdir", CHECKED_WHERE_USED),
    "formats": Field(
        ("stablehlo",),
        "stablehlo (for jax), onnx (by jax2onnx: requirements-onnx.txt), timm (PyTorch, weights "
        "by timm's names), huggingface (the Hub's layout, for vintk_jax.from_pretrained)",
        several(choice("stablehlo", "onnx", "timm", "huggingface"), "formats", least=1),
    ),
    "license": Field(
        "",
        "SPDX identifier for the model card; empty: the card says it is open",
        CHECKED_WHERE_USED,
    ),
    "adaptive": Field(
        "auto",
        "whether lengths are assigned; auto: where there is an assigner",
        choice("auto", "yes", "no"),
    ),
    **BUDGET,
    "budget.max_drop": dataclasses.replace(
        BUDGET["budget.max_drop"],
        default=-1.0,
        meaning="percentage points that accuracy may be below the longest length's; inf: no "
        "limit; -1: the whole budget that `assign` was given",
        rule=exactly_or(
            -1, number(0, infinite=True), "a number of percentage points of at least 0, -1, or inf"
        ),
    ),
    **COMPILE_CACHE,
}


def export() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.export`: the best checkpoint, into the workdir."""
    return filled(EXPORT)
