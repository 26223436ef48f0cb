"""What architectures are scored on, and how kernels are computed."""

import ml_collections


def add_scoring(config: ml_collections.ConfigDict) -> None:
    """Add the sections inputs, fourier and ntk."""
    config.inputs = ml_collections.ConfigDict()
    # photos (no download), noise, tfds:NAME, folder:PATH, npz:PATH; of clips: see split
    config.inputs.source = "photos"
    # of a video space, whose clips come from digits (moving, no download), noise, clips:PATH,
    # npz:PATH, tfds:NAME
    config.inputs.split = "train"
    config.inputs.num_images = 48  # images, or clips, in the kernel
    # pixels a side that architectures are scored at; a multiple of the patch size
    config.inputs.image_size = 64

    config.fourier = ml_collections.ConfigDict()
    # random Fourier features of each pixel's colour (pixel), of patches (patch), of positions
    # (coords)
    config.fourier.mode = "coords"
    config.fourier.num_features = 32  # cosines and sines together
    # standard deviation of the frequencies: cycles per standard deviation of the input (coords: per
    # side)
    config.fourier.sigma = 3.0

    config.ntk = ml_collections.ConfigDict()
    # structured (fast), neural_tangents, neural_tangents_ntvp
    config.ntk.implementation = "structured"
    config.ntk.cotangent = "random"  # of the logits: sum, random directions, full (all classes)
    config.ntk.num_directions = 1  # random directions averaged over
    config.ntk.num_seeds = 1  # draws of the weights averaged over
    config.ntk.num_classes = 100  # outputs of the scored models
    config.ntk.dtype = "float32"  # float32 or float64
    config.ntk.memory_gb = 0.0  # memory that kernels may take, per device; 0: what is free
