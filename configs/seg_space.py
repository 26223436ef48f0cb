"""Rank vision transformers for semantic segmentation without training any.

    python -m vintk_jax.search --config configs/seg_space.py            # 512 px, 150 classes
    # 240 x 180 px, 11 classes: what 2 cores can train
    python -m vintk_jax.search --config configs/seg_space.py:mini

Backbone and decoder (linear, mask transformer, multi-level convolutions) are searched together, by
ViNTK of the dense outputs under random directions over pixels and classes, on crops of the
photographs that scikit-learn ships. Limits are at the resolution above. Train what is found by
configs/segment_digits.py or configs/segment_camvid.py with
--config.model.arch=runs/seg_space/best.json.
"""

import ml_collections

from vintk_jax.defaults.search import search


def get_config(size: str = "small") -> ml_collections.ConfigDict:
    """The search of "small" or "mini"."""
    config = search(f"seg-{size or 'small'}")
    config.ntk.num_classes = 11 if size == "mini" else 19
    return config
