"""Token lengths for Weizmann's actions: `python -m benchmarks.weizmann_study --npz
weizmann4_64px.npz` uses it.

The study gives each person in turn to the test, another to the labels and a third to the
thresholds; the parts are those of its archives.
"""

import ml_collections

from vintk_jax.defaults.adaptive import adaptive


def get_config() -> ml_collections.ConfigDict:
    """Labels and thresholds from altered copies of four clips each."""
    config = adaptive()
    config.checkpoint = "last"  # the best one is chosen by the clips of the test
    config.labels.split = "part=1"
    config.labels.calibrate_split = "part=2"
    config.tla.batch_size = 32
    config.budget.max_drop = 1.0
    config.data.batch_size = 4
    config.engine.batch_sizes = ()
    config.compare.rounds = 1
    config.compare.drops = ()
    return config
