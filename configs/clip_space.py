"""Rank video transformers, TimeSformers with divided attention, without training any.

    # 8 frames of 224 px, 400 classes: from DeiT-Ti's sizes to DeiT-S's
    python -m vintk_jax.search --config configs/clip_space.py
    # 8 frames of 32 px, 8 classes: what 2 cores can train
    python -m vintk_jax.search --config configs/clip_space.py:mini

Scored by ViNTK on clips: the embedded moving digits (no download), or
--config.inputs.source=clips:PATH, npz:PATH, tfds:NAME or noise. Limits are at the resolution above.
Train what is found by configs/revit_clips.py with --config.model.arch=runs/clip_space/best.json.
"""

import ml_collections

from vintk_jax.defaults.search import search


def get_config(size: str = "small") -> ml_collections.ConfigDict:
    """The search of "small" or "mini"."""
    config = search("deit-video-mini" if size == "mini" else "deit-video")
    config.inputs.source = "digits"
    config.inputs.num_images = 16  # a clip costs as much as its frames
    if size == "mini":
        config.inputs.image_size = 32  # the moving digits' own
        config.ntk.num_classes = 8  # directions of moving digits
    return config
