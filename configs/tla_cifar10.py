"""The token-length assigner of configs/revit_cifar10.py, and adaptive inference with it.

    python -m vintk_jax.assign --config configs/tla_cifar10.py --workdir runs/revit_cifar10
    python -m vintk_jax.infer  --config configs/tla_cifar10.py --workdir runs/revit_cifar10

The workdir is the training's, which has left the last fifth of its images for this, that of
configs/revit_cifar10.py:regions the last tenth: configs/tla_cifar10.py:regions. docs/adaptive.md
has what to expect.
"""

import ml_collections

from vintk_jax.defaults.adaptive import adaptive
from vintk_jax.errors import UserError


def get_config(kind: str = "") -> ml_collections.ConfigDict:
    """Labels from the images that the model was not trained on, thresholds by crossed assigners on
    the same.
    """
    if kind not in ("", "regions"):
        raise UserError(
            "Expected configs/tla_cifar10.py or configs/tla_cifar10.py:regions, got "
            f"configs/tla_cifar10.py:{kind}."
        )
    config = adaptive()
    config.labels.split = "train[90%:]" if kind else "train[80%:]"
    config.tla.costs = "clock" if kind else "multiply_adds"
    config.compare.images = 10000
    return config
