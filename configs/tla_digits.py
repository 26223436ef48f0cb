"""The token-length assigner of configs/revit_digits.py, and adaptive inference with it.

    python -m vintk_jax.assign --config configs/tla_digits.py --workdir runs/revit_digits
    python -m vintk_jax.infer  --config configs/tla_digits.py --workdir runs/revit_digits
    python -m vintk_jax.infer  --config configs/tla_digits.py --workdir runs/revit_digits \
      --config.budget.max_drop=1.0

The workdir is the training's.
"""

import ml_collections

from vintk_jax.defaults.adaptive import adaptive


def get_config() -> ml_collections.ConfigDict:
    """The defaults."""
    return adaptive()
