"""Hold scores against trained accuracies.

    python -m vintk_jax.rank --config configs/rank.py --config.table=my_table.json
    python -m vintk_jax.rank --config configs/rank.py --config.table=my_table.json --config.proxies=vintk,params --config.num_architectures=100

The table is a JSON object: {"space": "autoformer-tiny", "rows": [{"arch": {...}, "accuracy": {"imagenet": 75.3}}, ...]}. Writes scores.jsonl
as it goes, rank.json and rank.html at the end to runs/rank (or --workdir; one for each table).
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
    """Every proxy on every architecture of a table."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # draws the sample, weights, Fourier features, inputs and the bootstrap
    config.table = ""  # JSON file of architectures and their accuracies
    config.proxies = "all"  # names with commas between them, or all; import paths to your own too
    config.num_architectures = 0  # a sample of so many rows of the table; 0 takes all
    config.batch_size = 0  # architectures scored in one call; 0 chooses: 4 a CPU core, 16 an accelerator

    config.inputs = ml_collections.ConfigDict()
    config.inputs.source = "photos"  # photos (no download), noise, tfds:NAME, folder:PATH, npz:PATH
    config.inputs.num_images = 16  # images in the kernel
    config.inputs.image_size = 64  # pixels a side that architectures are scored at; a multiple of the patch size

    config.fourier = ml_collections.ConfigDict()
    config.fourier.mode = "coords"  # random Fourier features of each pixel's colour (pixel), of patches (patch), of positions (coords)
    config.fourier.num_features = 32  # cosines and sines together
    config.fourier.sigma = 3.0  # standard deviation of the frequencies: cycles per standard deviation of the input (coords: per side)

    config.ntk = ml_collections.ConfigDict()
    config.ntk.implementation = "structured"  # structured (fast), neural_tangents, neural_tangents_ntvp
    config.ntk.cotangent = "random"  # of the logits: sum, random directions, full (all classes)
    config.ntk.num_directions = 1  # random directions averaged over
    config.ntk.num_seeds = 1  # draws of the weights averaged over
    config.ntk.num_classes = 100  # outputs of the scored models
    config.ntk.dtype = "float32"  # float32 or float64
    config.ntk.memory_gb = 0.0  # memory that kernels may take, per device; 0: what is free
    return config
