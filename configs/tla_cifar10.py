"""The token-length assigner of configs/revit_cifar10.py, and adaptive inference with it.

    python -m vintk_jax.assign --config configs/tla_cifar10.py --workdir runs/revit_cifar10
    python -m vintk_jax.infer  --config configs/tla_cifar10.py --workdir runs/revit_cifar10

The workdir is the training's, which has left the last fifth of its images for this.
docs/adaptive.md has what to expect.
"""

import ml_collections

from vintk_jax.defaults.adaptive import adaptive


def get_config() -> ml_collections.ConfigDict:
    """Labels from the images that the model was not trained on, thresholds by crossed assigners on
    the same.
    """
    config = adaptive()
    config.labels.split = "train[80%:]"
    config.compare.images = 10000
    return config
