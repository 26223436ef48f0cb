"""A Resizable TimeSformer on Weizmann's actions: 36 clips of 9 people who wave one hand, wave both,
do jumping jacks, or bend.

    # leaves each person out in turn, with this config and configs/tla_weizmann.py
    python -m benchmarks.weizmann_study --npz weizmann4_64px.npz
    python -m vintk_jax.train --config configs/revit_weizmann.py \
      --config.data.source=npz:weizmann4_64px.npz \
        --config.data.train_split='subject!=0' --config.data.test_split=subject=0

The archive holds frames (2645, 64, 64, 3) one clip behind the other, length, label and subject
(36,).
"""

import ml_collections

from vintk_jax.defaults.clips import clips


def get_config() -> ml_collections.ConfigDict:
    """Sizes for two dozen clips; `weizmann_study` names the source."""
    config = clips()
    config.data.source = "npz:weizmann4_64px.npz"
    config.data.train_split = "subject!=0"
    config.data.test_split = "subject=0"
    config.data.image_size = 32
    config.data.batch_size = 12
    config.model.patch_size = 8
    config.clips.stretch = 32  # two to four strokes of a waving hand
    # A clip of a bend shows for a third of its time a person who stands.
    config.clips.views = 3
    config.clips.lengths = ((8, 4), (4, 2), (2, 2))  # 128, 16 and 8 tokens
    config.augment.resized_crop = 0.5
    config.augment.padding = 4
    config.augment.flip = True
    config.augment.randaugment_ops = 2  # without it, walls and shirts are learnt by heart
    config.loss.label_smoothing = 0.1
    config.optimizer.epochs = 400.0  # there are some 24 clips, each time another stretch of each
    config.optimizer.learning_rate = 2e-3
    config.checkpoints.every_epochs = 100.0
    return config
