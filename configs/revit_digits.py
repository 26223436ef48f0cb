"""A Resizable ViT on the embedded set: real digits on real photographs, from scikit-learn, no download.

    python -m vintk_jax.train --config configs/revit_digits.py

16, 4 or 1 tokens by one set of weights. Minutes on 2 cores; the README has time and accuracy.
"""

import ml_collections

from vintk_jax.defaults.training import training


def get_config() -> ml_collections.ConfigDict:
    """A ViT of 0.14 M parameters on 32,000 images of 32 px: the defaults of a training."""
    return training()
