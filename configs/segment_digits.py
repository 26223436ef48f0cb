"""A segmenter on the embedded set: which pixels are a digit's, and which digit's; scikit-learn's
digits on its photographs, no download.

    python -m vintk_jax.train --config configs/segment_digits.py
    python -m vintk_jax.train --config configs/segment_digits.py \
      --config.model.arch=runs/seg_space-mini/best.json

A ViT of 64 tokens with Segmenter's mask decoder; minutes on 2 cores. Ends with the mean
intersection over union, and predictions.png: image, truth, prediction.
"""

import ml_collections

from vintk_jax.defaults.segmentation import segmentation


def get_config() -> ml_collections.ConfigDict:
    """The defaults of a segmenter's training."""
    config = segmentation()
    config.optimizer.epochs = 3.0
    return config
