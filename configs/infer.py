"""Predict with a model that `vintk_jax.train` has trained, at one token length or all.

    python -m vintk_jax.infer --config configs/infer.py --workdir runs/revit_digits
    python -m vintk_jax.infer --config configs/infer.py --workdir runs/revit_digits \
      --config.data.source=images:my_photos

The workdir is the training's. Writes predictions.jsonl to it: a line an image and token length.
"""

import ml_collections

from vintk_jax.defaults.compile_cache import add_compile_cache


def get_config() -> ml_collections.ConfigDict:
    """The test images of the training, at every length."""
    config = ml_collections.ConfigDict()
    # best: of the highest accuracy at the longest length; last: at the end
    config.checkpoint = "best"

    config.data = ml_collections.ConfigDict()
    # digits, tfds:NAME, folder:PATH, npz:PATH with labels; images:PATH without; empty: the
    # training's
    config.data.source = ""
    config.data.split = ""  # empty: the split that the training tested on
    config.data.batch_size = 64  # images in one call; one program is compiled for each length
    config.data.threads = 2  # threads that read images; 0: the one that runs the rest

    config.lengths = ()  # tokens a side of the lengths to use, of those trained; empty: all
    add_compile_cache(config)
    return config
