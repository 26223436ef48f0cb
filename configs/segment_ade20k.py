"""A segmenter of ViT-Tiny's size on ADE20K (tfds: scene_parse150), for a GPU or TPU; the recipe is
Segmenter's (arXiv 2105.05633, section 4.1).

    python -m vintk_jax.train --config configs/segment_ade20k.py \
      --config.model.arch=runs/seg_space/best.json

Not run by us: it wants an accelerator and the download. Segmenter starts from ImageNet weights;
this starts from none.
"""

import ml_collections

from vintk_jax.defaults.segmentation import segmentation


def get_config() -> ml_collections.ConfigDict:
    """Squares of 512 pixels, 16-pixel patches, 150 classes, sliding windows."""
    config = segmentation()
    config.data.source = "tfds:scene_parse150"
    config.data.image_size = 512
    config.data.batch_size = 16
    config.data.threads = 16
    config.model.lengths = (32,)  # patches of 16 pixels
    # ViT-Tiny's sizes.
    config.model.embed_dim = 192
    config.model.depth = 12
    config.model.num_heads = 3
    config.model.mlp_ratio = 4.0
    config.model.init = "deit"
    config.model.dtype = "bfloat16"
    config.loss.drop_path = 0.1  # Segmenter's
    config.augment.flip = True
    config.optimizer.epochs = 127.0  # Segmenter's 160,000 steps
    config.segmentation.mask_depth = 2  # Segmenter's
    config.segmentation.labels = tuple(range(1, 151))
    config.segmentation.ignore = (0,)  # pixels without a class
    config.segmentation.scale = (0.5, 2.0)
    config.segmentation.evaluation = "sliding"
    config.segmentation.height = 512
    config.segmentation.width = 683
    return config
