"""Predicting at each token length that is asked for."""

import ml_collections

from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.predicting import CHECKPOINT, IMAGES
from vintk_jax.defaults.rules import CHECKED_WHERE_USED

INFER = {
    **CHECKPOINT,
    **IMAGES,
    "lengths": Field(
        (),
        "lengths to use of those trained, each by its tokens a side; empty: all",
        CHECKED_WHERE_USED,
    ),
    **COMPILE_CACHE,
}


def infer() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.infer` where no lengths are assigned: the training's test images,
    at every length.
    """
    return filled(INFER)
