"""What architectures are scored on, and how kernels are computed."""

import ml_collections

from vintk_jax.defaults.field import Field, add_fields
from vintk_jax.defaults.rules import (
    AT_LEAST_TWO,
    CHECKED_WHERE_USED,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    choice,
)

FOURIER = {
    "fourier.mode": Field(
        "coords",
        "what random Fourier features are taken of: each pixel's colour (pixel), patches (patch) "
        "or positions (coords)",
        choice("pixel", "patch", "coords"),
    ),
    "fourier.num_features": Field(
        32, "number of features, cosines and sines together", AT_LEAST_TWO
    ),
    "fourier.sigma": Field(
        3.0,
        "standard deviation of the frequencies, in cycles per standard deviation of the input "
        "(coords: per side)",
        POSITIVE,
    ),
}

SCORING = {
    "inputs.source": Field(
        "photos",
        "images that architectures are scored on: photos (no download), noise, tfds:NAME, "
        "folder:PATH or npz:PATH; for a space of video models clips: digits (moving, no download), "
        "noise, clips:PATH, npz:PATH or tfds:NAME",
        CHECKED_WHERE_USED,
    ),
    "inputs.split": Field(
        "train",
        "the split of the source that clips are drawn from, for a space of video models",
        CHECKED_WHERE_USED,
    ),
    "inputs.num_images": Field(48, "images, or clips, in the kernel", AT_LEAST_TWO),
    "inputs.image_size": Field(
        64,
        "pixels a side that architectures are scored at; a multiple of the patch size",
        COUNT,
    ),
    **FOURIER,
    "ntk.implementation": Field(
        "structured",
        "how kernels are computed: structured is the fast one, the others are the library "
        "neural_tangents",
        choice("structured", "neural_tangents", "neural_tangents_ntvp"),
    ),
    "ntk.cotangent": Field(
        "random",
        "what the kernel takes of the logits: their sum, random directions, or all classes (full)",
        choice("sum", "random", "full"),
    ),
    "ntk.num_directions": Field(1, "random directions that scores are averaged over", COUNT),
    "ntk.num_seeds": Field(1, "draws of the weights that scores are averaged over", COUNT),
    "ntk.num_classes": Field(100, "outputs of the scored models", COUNT),
    "ntk.dtype": Field("float32", "type of the computation", choice("float32", "float64")),
    "ntk.memory_gb": Field(
        0.0, "gigabytes of memory that kernels may take, per device; 0: what is free", NOT_NEGATIVE
    ),
}


def add_scoring(config: ml_collections.ConfigDict) -> None:
    """Add the sections inputs, fourier and ntk to a config of your own."""
    add_fields(config, SCORING)
