"""A search: the space, how candidates are chosen, limits, what they are scored on and by."""

import ml_collections

from vintk_jax.defaults.compile_cache import add_compile_cache
from vintk_jax.defaults.scoring import add_scoring


def search(space: str) -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.search`, for the space of that name."""
    config = ml_collections.ConfigDict()
    # draws candidates, weights, Fourier features and inputs; the same seed gives the same best.json
    config.seed = 0
    config.space = space  # a built-in space (docs/your_space.md), or your own: package.module:SPACE

    config.search = ml_collections.ConfigDict()
    # random; nsga2: score against multiply-adds; exhaustive: every architecture of a small space
    config.search.algorithm = "nsga2"
    config.search.num_candidates = 1000  # trials in all; a resumed search may raise it
    config.search.population = 50  # nsga2: trials a generation, which ends before the next begins
    # candidates scored in one call; what a kill loses at most; 0 chooses: 4 a CPU core, 16 an
    # accelerator
    config.search.batch_size = 0
    # Optuna storage URL to share over machines (needs Optuna's driver); empty: a journal file in
    # the workdir
    config.search.storage = ""
    # seconds after which a candidate of a silent process on another machine is taken over
    config.search.lease_s = 600.0

    config.limits = ml_collections.ConfigDict()
    # millions of parameters (at 224 px and 1,000 classes, unless the space says otherwise); 0: no
    # limit
    config.limits.max_params_m = 0.0
    # millions of multiply-adds of one image of that size; 0 is no limit
    config.limits.max_flops_m = 0.0
    # milliseconds for one image of that size, measured on this machine; 0 is no limit
    config.limits.max_latency_ms = 0.0

    add_scoring(config)

    config.score = ml_collections.ConfigDict()
    # vintk, a baseline (see vintk_jax/proxies), or your own: package.module:function
    config.score.name = "vintk"
    add_compile_cache(config)
    return config
