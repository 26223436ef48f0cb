"""Predict with a model that `vintk_jax.train` has trained, at one token length or all.

    python -m vintk_jax.infer --config configs/infer.py --workdir runs/revit_digits
    python -m vintk_jax.infer --config configs/infer.py --workdir runs/revit_digits \
      --config.data.source=images:my_photos

The workdir is the training's. Writes predictions.jsonl to it: a line an image and token length.
"""

import ml_collections

from vintk_jax.defaults.infer import infer


def get_config() -> ml_collections.ConfigDict:
    """The test images of the training, at every length."""
    return infer()
