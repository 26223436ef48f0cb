"""The token-length assigner of configs/revit_digits.py, and adaptive inference with it.

    python -m vintk_jax.assign --config configs/tla_digits.py --workdir runs/revit_digits
    python -m vintk_jax.infer  --config configs/tla_digits.py --workdir runs/revit_digits
    python -m vintk_jax.infer  --config configs/tla_digits.py --workdir runs/revit_digits \
      --config.budget.max_drop=1.0

The workdir is the training's; configs/tla_digits.py:stem is for configs/revit_digits.py:stem.
"""

import ml_collections

from vintk_jax.defaults.adaptive import adaptive
from vintk_jax.errors import UserError


def get_config(kind: str = "") -> ml_collections.ConfigDict:
    """The defaults, but for what the assigner reads; for "stem", costs by the clock."""
    if kind not in ("", "stem"):
        raise UserError(
            "Expected configs/tla_digits.py or configs/tla_digits.py:stem, got "
            f"configs/tla_digits.py:{kind}."
        )
    config = adaptive()
    # As right as what reads features, and cheaper (docs/adaptive.md).
    config.tla.kind = "confidence"
    config.tla.costs = "clock" if kind else "multiply_adds"
    return config
