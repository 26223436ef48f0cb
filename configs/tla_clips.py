"""Token lengths for the moving digits: a clip at 8, 4 or 2 frames, as it needs.

    python -m vintk_jax.train  --config configs/revit_clips.py --workdir runs/revit_clips
    python -m vintk_jax.assign --config configs/tla_clips.py   --workdir runs/revit_clips
    python -m vintk_jax.infer  --config configs/tla_clips.py   --workdir runs/revit_clips

Writes labels.npz and assigner/, then adaptive.json, adaptive.png and adaptive.html, to the
training's workdir.
"""

import ml_collections

from vintk_jax.defaults.adaptive import adaptive


def get_config() -> ml_collections.ConfigDict:
    """The embedded clips have splits of their own for labels and thresholds (docs/video.md: what
    was tried).
    """
    config = adaptive()
    config.labels.calibrate_split = "calibrate"
    # Few clips need more than the shortest length; as classes, the other lengths learn little.
    config.tla.target = "each"
    config.tla.epochs = 10.0
    config.tla.learning_rate = 3e-3
    # The longest length is fastest at this size on 2 cores; short ones at a still larger one.
    config.data.batch_size = 128
    config.engine.batch_sizes = (1, 8, 32)
    config.budget.max_drop = 0.5
    return config
