"""Other people's weights as a workdir that `infer` and `assign` take.

    python -m vintk_jax.weights --config configs/weights.py \
      --config.weights=deit_small_patch16_224.pth --workdir runs/deit_s
    python -m vintk_jax.infer   --config configs/infer.py   --workdir runs/deit_s \
      --config.data.source=images:my_photos
    python -m vintk_jax.weights --config configs/weights.py --config.weights=supernet-tiny.pth \
      --config.arch=runs/vit_space/best.json

docs/weights.md says which files are known. Nothing is trained: seconds.
"""

import ml_collections

from vintk_jax.defaults.weights import weights


def get_config() -> ml_collections.ConfigDict:
    """A file, at its own length and image size."""
    return weights()
