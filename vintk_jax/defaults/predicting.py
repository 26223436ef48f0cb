"""What predicting asks for at every length and by budget alike: a checkpoint and images."""

from vintk_jax.defaults.field import Field
from vintk_jax.defaults.rules import CHECKED_WHERE_USED, COUNT, THREADS, choice

CHECKPOINT = {
    "checkpoint": Field(
        "best",
        "checkpoint of the training: that of the highest accuracy (best; of several lengths the "
        "longest counts), or that of its end (last)",
        choice("best", "last"),
    )
}

IMAGES = {
    "data.source": Field(
        "",
        "images to predict on: images:PATH without labels, or with labels what a training takes as "
        "its data.source; empty: the training's",
        CHECKED_WHERE_USED,
    ),
    "data.split": Field(
        "",
        "split to predict on; empty: the one that the training tested on",
        CHECKED_WHERE_USED,
    ),
    "data.batch_size": Field(
        64, "images in a full batch; each length has a compiled program for it", COUNT
    ),
    "data.threads": Field(2, "threads that read images; 0: the one that runs the rest", THREADS),
}
