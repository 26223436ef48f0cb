"""A search: the space, how candidates are chosen, limits, what they are scored on and by."""

import ml_collections

from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.rules import (
    ADDRESS,
    AT_LEAST_TWO,
    CHECKED_WHERE_USED,
    COUNT,
    COUNT_OR_ZERO,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    choice,
)
from vintk_jax.defaults.scoring import SCORING

SEARCH = {
    "seed": Field(
        0,
        "draws candidates, weights, Fourier features and inputs; the same seed gives the same "
        "best.json",
        SEED,
    ),
    "space": Field(
        "autoformer-tiny",
        "a built-in space (docs/your_space.md), or your own: package.module:SPACE",
        CHECKED_WHERE_USED,
    ),
    "search.algorithm": Field(
        "nsga2",
        "how candidates are chosen: random; nsga2 (evolution, for score and multiply-adds); "
        "exhaustive (every architecture of a small space)",
        choice("random", "nsga2", "exhaustive"),
    ),
    "search.num_candidates": Field(1000, "trials in all; a resumed search may raise it", COUNT),
    "search.population": Field(
        50, "nsga2: trials of a generation, which ends before the next begins", AT_LEAST_TWO
    ),
    "search.batch_size": Field(
        0,
        "candidates scored in one call, the most that a kill loses; 0: 4 for each CPU core, 16 for "
        "an accelerator",
        COUNT_OR_ZERO,
    ),
    "search.storage": Field(
        "",
        "address of an Optuna storage that machines share (needs Optuna's driver); empty: a "
        "journal file in the workdir",
        ADDRESS,
    ),
    "search.lease_s": Field(
        600.0,
        "seconds after which a candidate of a silent process on another machine is taken over",
        POSITIVE,
    ),
    "limits.max_params_m": Field(
        0.0,
        "millions of parameters, at 224 px and 1,000 classes unless the space says otherwise; 0: "
        "no limit",
        NOT_NEGATIVE,
    ),
    "limits.max_flops_m": Field(
        0.0, "millions of multiply-adds for one image of that size; 0: no limit", NOT_NEGATIVE
    ),
    "limits.max_latency_ms": Field(
        0.0,
        "milliseconds for one image of that size, measured on this machine; 0: no limit",
        NOT_NEGATIVE,
    ),
    **SCORING,
    "score.name": Field(
        "vintk",
        "vintk, a baseline (docs/proxies.md), or your own: package.module:function",
        CHECKED_WHERE_USED,
    ),
    **COMPILE_CACHE,
}


def search(space: str) -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.search`, for the space of that name."""
    config = filled(SEARCH)
    config.space = space
    return config
