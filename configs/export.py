"""A trained model, with its assigner where it has one, as a folder that runs without vintk_jax.

    python -m vintk_jax.export --config configs/export.py --workdir runs/revit_digits
    python -m vintk_jax.export --config configs/export.py --workdir runs/revit_digits \
      --config.budget.max_drop=1

The workdir is the training's. The budget is the one that `assign` was given, unless another comes;
docs/export.md says what the folder holds.
"""

import ml_collections

from vintk_jax.defaults.export import export


def get_config() -> ml_collections.ConfigDict:
    """The best checkpoint, into the workdir."""
    return export()
