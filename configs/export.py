"""A trained model, with its assigner where it has one, as a folder that runs without vintk_jax.

    python -m vintk_jax.export --config configs/export.py --workdir runs/revit_digits
    python -m vintk_jax.export --config configs/export.py --workdir runs/revit_digits \
      --config.budget.max_drop=1

The workdir is the training's. The budget is the one that `assign` was given, unless another comes;
docs/export.md says what the folder holds.
"""

import ml_collections

from vintk_jax.defaults.compile_cache import add_compile_cache


def get_config() -> ml_collections.ConfigDict:
    """The best checkpoint, into the workdir."""
    config = ml_collections.ConfigDict()
    config.checkpoint = "best"  # of the training: best or last
    config.folder = ""  # where to; empty: export/ in the workdir
    # stablehlo (for jax), onnx (by jax2onnx: requirements-onnx.txt), timm (PyTorch, weights by
    # timm's names)
    config.formats = ("stablehlo",)
    # whether lengths are assigned: auto (where there is an assigner), yes, no
    config.adaptive = "auto"

    config.budget = ml_collections.ConfigDict()
    # as in configs/tla_digits.py; a negative number: what `assign` was given
    config.budget.max_drop = -1.0
    config.budget.confidence = 0.9  # likewise
    config.budget.max_cost = 1.0  # likewise
    config.budget.by = "measured"  # likewise
    add_compile_cache(config)
    return config
