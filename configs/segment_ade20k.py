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
    config.data.source = "tfds:scene_parse150"  # 20,210 pictures to train on
    config.data.image_size = 512  # pixels a side of the squares that are trained on
    config.data.batch_size = 16  # squares a step
    config.data.threads = 16  # threads that prepare pictures
    config.model.lengths = (32,)  # patches of 16 pixels
    config.model.embed_dim = 192  # ViT-Tiny's
    config.model.depth = 12  # ViT-Tiny's
    config.model.num_heads = 3  # ViT-Tiny's
    config.model.mlp_ratio = 4.0  # ViT-Tiny's
    config.model.init = "deit"  # deviation 0.02
    config.model.dtype = "bfloat16"  # of the computation
    config.loss.drop_path = 0.1  # Segmenter's
    config.augment.flip = True  # mirror half of the pictures
    config.optimizer.epochs = 127.0  # Segmenter's 160,000 steps
    config.segmentation.mask_depth = 2  # Segmenter's
    config.segmentation.labels = tuple(range(1, 151))  # the classes' values
    config.segmentation.ignore = (0,)  # what has no class
    config.segmentation.scale = (0.5, 2.0)  # pictures are resized by
    config.segmentation.evaluation = "sliding"  # windows of 512 pixels
    config.segmentation.height = 512  # of the pictures that are measured on
    config.segmentation.width = 683  # likewise
    return config
