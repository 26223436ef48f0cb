"""Other people's weights as a workdir that `infer` and `assign` take."""

import dataclasses

import ml_collections

from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.rules import CHECKED_WHERE_USED, COUNT_OR_ZERO
from vintk_jax.defaults.training import TRAINING

WEIGHTS = {
    "weights": Field(
        "",
        ".safetensors, .pth or .npz, or a folder downloaded from Hugging Face",
        CHECKED_WHERE_USED,
    ),
    "arch": Field(
        "",
        "best.json (space and arch) of the architecture to cut out of AutoFormer's supernet",
        CHECKED_WHERE_USED,
    ),
    "num_heads": Field(
        0,
        "heads of each block; 0: as the file or the config.json beside it says, else one for each "
        "64 columns",
        COUNT_OR_ZERO,
    ),
    "pool": TRAINING["model.pool"],
    "pixels": TRAINING["model.weights_pixels"],
    "averaged": TRAINING["model.weights_averaged"],
    "lengths": Field(
        (),
        "tokens a side of each length, longest first; of clips pairs (frames, tokens a side); "
        "empty: the file's own",
        CHECKED_WHERE_USED,
    ),
    "classes": Field(
        "",
        "text file with the name of a class on each line; empty: as the config.json beside the "
        "weights says, else numbers",
        CHECKED_WHERE_USED,
    ),
    "dtype": TRAINING["model.dtype"],
    "data.source": Field(
        "",
        "where assign and infer find images with labels: tfds:NAME, folder:PATH or npz:PATH; "
        "empty: name it there",
        CHECKED_WHERE_USED,
    ),
    "data.train_split": dataclasses.replace(
        TRAINING["data.train_split"],
        meaning="a split that the weights were trained on; assign needs others",
    ),
    "data.test_split": TRAINING["data.test_split"],
    "data.image_size": dataclasses.replace(
        TRAINING["data.image_size"],
        default=0,
        meaning="pixels a side; 0: the file's tokens a side times its patch",
    ),
    "data.crop_ratio": dataclasses.replace(TRAINING["data.crop_ratio"], default=0.875),
    **COMPILE_CACHE,
}


def weights() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.weights`: a file, at its own length and image size."""
    return filled(WEIGHTS)
