"""Scores held against trained accuracies."""

import ml_collections

from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.rules import CHECKED_WHERE_USED, COUNT, COUNT_OR_ZERO, SEED
from vintk_jax.defaults.scoring import SCORING

RANK = {
    "seed": Field(0, "draws the sample, weights, Fourier features, inputs and the bootstrap", SEED),
    "seeds": Field(1, "number of seeds, from `seed` on; correlations are means over them", COUNT),
    "table": Field("", "JSON file of architectures and their accuracies", CHECKED_WHERE_USED),
    "proxies": Field(
        "all",
        "names of scores with commas between them, or all; your own by package.module:function",
        CHECKED_WHERE_USED,
    ),
    "num_architectures": Field(0, "rows of the table that are drawn; 0: all rows", COUNT_OR_ZERO),
    "batch_size": Field(
        0,
        "architectures scored in one call; 0: 4 for each CPU core, 16 for an accelerator",
        COUNT_OR_ZERO,
    ),
    **SCORING,
    **COMPILE_CACHE,
}


def rank() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.rank`."""
    return filled(RANK)
