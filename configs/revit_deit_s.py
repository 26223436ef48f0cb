"""A Resizable DeiT-Small on ImageNet, on a TPU or GPUs: DeiT's recipe (Touvron et al. 2021, arXiv
2012.12877, table 9).

    # tfds prepares imagenet2012 from your archives
    python -m vintk_jax.train --config configs/revit_deit_s.py
    python -m vintk_jax.train --config configs/revit_deit_s.py \
      --config.model.arch=runs/vit_space/best.json

196, 100 or 49 tokens by one set of weights. Never run to its end by us: we had no machine for it;
`benchmarks/on_device.py` measures a step.
"""

import ml_collections

from vintk_jax.defaults.training import training


def get_config() -> ml_collections.ConfigDict:
    """300 epochs of batches of 1,024 in bfloat16."""
    config = training()
    config.data.source = "tfds:imagenet2012"
    config.data.test_split = "validation"
    config.data.image_size = 224
    config.data.batch_size = 1024
    config.data.crop_ratio = 0.875
    config.data.threads = 64
    config.model.embed_dim = 384
    config.model.depth = 12
    config.model.num_heads = 6
    config.model.mlp_ratio = 4.0
    config.model.lengths = (14, 10, 7)
    config.model.patch_size = 32
    config.model.init = "deit"
    config.model.dtype = "bfloat16"
    config.model.scan = True
    config.loss.label_smoothing = 0.1
    config.loss.drop_path = 0.1
    config.augment.resized_crop = 0.08
    config.augment.flip = True
    config.augment.randaugment_ops = 2
    config.augment.erasing = 0.25
    config.augment.mixup = 0.8
    config.augment.cutmix = 1.0
    config.optimizer.epochs = 300.0
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.warmup = 5 / 300
    config.optimizer.ema = 0.99996
    config.log_every = 100
    config.checkpoints.every_epochs = 1.0
    return config
