"""A Resizable ViT on CIFAR-10, within reach of 2 cores.

    # tfds downloads CIFAR-10
    python -m vintk_jax.train --config configs/revit_cifar10.py
    python -m vintk_jax.train --config configs/revit_cifar10.py \
      --config.data.source=npz:cifar10_subset.npz
    # a plain ViT at 36 tokens
    python -m vintk_jax.train --config configs/revit_cifar10.py --config.model.lengths="(6,)"

64, 36 or 16 tokens by one set of weights of 0.50 M parameters. The last fifth of the training
images is left to configs/tla_cifar10.py; with `--config.data.train_split=train` it isn't. The same
as an LV-ViT, beside it by benchmarks/lvvit_study.py:

    python -m vintk_jax.train --config configs/revit_cifar10.py --config.model.pool=mean \
      --workdir runs/teacher_cifar10
    python -m vintk_jax.train --config configs/revit_cifar10.py:lvvit
"""

import ml_collections

from vintk_jax.defaults.lvvit import as_lvvit
from vintk_jax.defaults.training import training
from vintk_jax.errors import UserError


def get_config(kind: str = "") -> ml_collections.ConfigDict:
    """A narrow ViT or "lvvit", flips and small moves; the schedule suits 16,000 images and a
    CPU.
    """
    if kind not in ("", "lvvit"):
        raise UserError(
            f"Expected configs/revit_cifar10.py or configs/revit_cifar10.py:lvvit, got "
            f"configs/revit_cifar10.py:{kind}."
        )
    config = training()
    config.data.source = "tfds:cifar10"
    config.data.train_split = "train[:80%]"
    config.data.batch_size = 128
    config.model.embed_dim = 96
    config.model.depth = 5
    config.model.num_heads = 3
    config.model.mlp_ratio = 3.0
    config.model.lengths = (8, 6, 4)
    config.model.patch_size = 8
    config.loss.label_smoothing = 0.1
    config.augment.padding = 4
    config.augment.flip = True
    config.optimizer.epochs = 15.0
    config.checkpoints.every_epochs = 3.0
    return as_lvvit(config, "runs/teacher_cifar10") if kind else config
