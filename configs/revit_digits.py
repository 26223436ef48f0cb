"""A Resizable ViT on the embedded set: real digits on real photographs, from scikit-learn, no
download.

    python -m vintk_jax.train --config configs/revit_digits.py

16, 4 or 1 tokens by one set of weights. Minutes on 2 cores; the README has time and accuracy. As an
LV-ViT, with a convolutional stem and a label for every patch by a teacher (any ViT that averages
its patches, or another LV-ViT; with --config.loss.teacher= each patch learns its image's label):

    python -m vintk_jax.train --config configs/revit_digits.py --config.model.pool=mean \
      --workdir runs/teacher_digits
    python -m vintk_jax.train --config configs/revit_digits.py:lvvit

With one small convolution ahead of the patches, which makes short lengths far better:

    python -m vintk_jax.train --config configs/revit_digits.py:stem
"""

import ml_collections

from vintk_jax.defaults.lvvit import as_lvvit
from vintk_jax.defaults.training import training
from vintk_jax.errors import UserError


def get_config(kind: str = "") -> ml_collections.ConfigDict:
    """A ViT of 0.14 M parameters on 32,000 images of 32 px, the defaults of a training; or "lvvit"
    or "stem" of about that size.
    """
    if kind not in ("", "lvvit", "stem"):
        raise UserError(
            f"Expected configs/revit_digits.py, with :lvvit or :stem behind it or nothing, got "
            f"configs/revit_digits.py:{kind}."
        )
    config = training()
    if kind == "stem":
        config.model.pool = "mean"
        config.model.stem_width = 16
        config.model.stem_sides = (3,)
    return as_lvvit(config, "runs/teacher_digits") if kind == "lvvit" else config
