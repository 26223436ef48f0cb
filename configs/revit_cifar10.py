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

A model that pays to adapt (docs/adaptive.md), in 40 to 85 minutes:

    python -m vintk_jax.train --config configs/revit_cifar10.py:regions

64 or 16 tokens, or 16 of which the 8 most relevant are cut for a second pass of 40, behind a small
convolution, 0.55 M parameters, from all but the last tenth of the 50,000 training images.
"""

import ml_collections

from vintk_jax.defaults.lvvit import as_lvvit
from vintk_jax.defaults.training import training
from vintk_jax.errors import UserError


def get_config(kind: str = "") -> ml_collections.ConfigDict:
    """A narrow ViT, "lvvit" or "regions", flips and small moves; the schedule suits 16,000 images
    and a CPU, that of "regions" 45,000.
    """
    if kind not in ("", "lvvit", "regions"):
        raise UserError(
            f"Expected configs/revit_cifar10.py, with :lvvit or :regions behind it or nothing, got "
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
    if kind == "regions":
        config.data.train_split = "train[:90%]"
        config.model.pool = "mean"
        config.model.lengths = (8, 4)
        config.model.regions = (8,)
        config.model.stem_width = 32
        config.model.stem_sides = (3,)
        config.optimizer.epochs = 26.0
        config.checkpoints.every_epochs = 1.0
    return as_lvvit(config, "runs/teacher_cifar10") if kind == "lvvit" else config
