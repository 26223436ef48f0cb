"""Which frequencies a kernel sees: signals, a small ViT, its kernels and its training."""

import dataclasses

import ml_collections

from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.rules import AT_LEAST_TWO, COUNT, POSITIVE, SEED, number, several, whole
from vintk_jax.defaults.scoring import FOURIER
from vintk_jax.defaults.training import TRAINING

_CYCLES = several(whole(1, 2**31), "numbers of cycles", least=1)
_EDGES = several(number(0), "edges of bands", least=2, ascending=True)

SPECTRUM = {
    "seed": Field(0, "draws weights, signals, Fourier features and directions", SEED),
    "num_draws": Field(3, "draws of the weights that numbers are averaged over", COUNT),
    "model.embed_dim": dataclasses.replace(TRAINING["model.embed_dim"], default=96),
    "model.depth": dataclasses.replace(TRAINING["model.depth"], default=4),
    "model.num_heads": dataclasses.replace(TRAINING["model.num_heads"], default=3),
    "model.patch_size": dataclasses.replace(
        TRAINING["model.patch_size"], meaning="pixels a side of a patch"
    ),
    "signals.num_images": Field(64, "images of an experiment", AT_LEAST_TWO),
    "signals.image_size": Field(32, "pixels a side", COUNT),
    "signals.cycles": Field(
        (1, 2, 4, 8, 16),
        "frequencies of the targets along a closed path of images, in cycles a round",
        _CYCLES,
    ),
    "signals.band_edges": Field(
        (0.5, 2.0, 4.0, 8.0, 12.0, 16.0),
        "edges of the images' radial bands, in cycles per image",
        _EDGES,
    ),
    **FOURIER,
    "fourier.mode": dataclasses.replace(FOURIER["fourier.mode"], default="pixel"),
    "fourier.sigma": dataclasses.replace(FOURIER["fourier.sigma"], default=1.0),
    "kernel.num_directions": Field(
        8, "random directions of the outputs that kernels are averaged over", COUNT
    ),
    "kernel.top": Field(16, "leading eigenvectors that count as such", COUNT),
    "train.steps": Field(400, "steps of Adam, each on all images", COUNT),
    "train.learning_rate": Field(3e-4, "learning rate of Adam", POSITIVE),
    **COMPILE_CACHE,
}


def spectrum() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.spectrum`: a ViT of four blocks at 32 px."""
    return filled(SPECTRUM)
