"""Which frequencies does a kernel see?

    python -m vintk_jax.spectrum --config configs/spectrum.py

Signals of known frequency, on a small ViT: how much of each lies in the leading eigenvectors of the
NTK and of the kernel on Fourier features, how fast kernel regression learns it, and how fast a
really trained network does. Writes spectrum.json, spectrum.png and spectrum.html to runs/spectrum.
The README of the docs, docs/theory.md, says what to expect and why.
"""

import ml_collections

from vintk_jax.defaults.compile_cache import add_compile_cache


def get_config() -> ml_collections.ConfigDict:
    """A ViT of four blocks at 32 px, on photographs and on noise of known bands."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # draws weights, signals, Fourier features and directions
    config.num_draws = 3  # draws of the weights that numbers are averaged over

    config.model = ml_collections.ConfigDict()
    config.model.embed_dim = 96  # width of a token
    config.model.depth = 4  # blocks
    config.model.num_heads = 3  # heads of a block
    config.model.patch_size = 8  # pixels a side of a patch

    config.signals = ml_collections.ConfigDict()
    config.signals.num_images = 64  # images an experiment
    config.signals.image_size = 32  # pixels a side
    # frequencies of the targets along a closed path of images, in cycles a round
    config.signals.cycles = (1, 2, 4, 8, 16)
    # of the images' radial bands, in cycles per image
    config.signals.band_edges = (0.5, 2.0, 4.0, 8.0, 12.0, 16.0)

    config.fourier = ml_collections.ConfigDict()
    # random Fourier features of each pixel's colour (pixel), of patches (patch), of positions
    # (coords)
    config.fourier.mode = "pixel"
    config.fourier.num_features = 32  # cosines and sines together
    # standard deviation of the frequencies: cycles per standard deviation of the input (coords: per
    # side)
    config.fourier.sigma = 1.0

    config.kernel = ml_collections.ConfigDict()
    config.kernel.num_directions = 8  # random directions of the outputs averaged over
    config.kernel.top = 16  # leading eigenvectors that count as such

    config.train = ml_collections.ConfigDict()
    config.train.steps = 400  # full-batch steps of Adam
    config.train.learning_rate = 3e-4  # of Adam
    add_compile_cache(config)
    return config
