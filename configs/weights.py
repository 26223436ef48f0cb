"""Other people's weights as a workdir that `infer` and `assign` take.

    python -m vintk_jax.weights --config configs/weights.py \
      --config.weights=deit_small_patch16_224.pth --workdir runs/deit_s
    python -m vintk_jax.infer   --config configs/infer.py   --workdir runs/deit_s \
      --config.data.source=images:my_photos
    python -m vintk_jax.weights --config configs/weights.py --config.weights=supernet-tiny.pth \
      --config.arch=runs/vit_space/best.json

docs/weights.md says which files are known. Nothing is trained: seconds.
"""

import ml_collections

from vintk_jax.defaults.compile_cache import add_compile_cache


def get_config() -> ml_collections.ConfigDict:
    """A file, at its own length and image size."""
    config = ml_collections.ConfigDict()
    config.weights = ""  # .safetensors, .pth or .npz, or a folder downloaded from Hugging Face
    # best.json (space and arch) of the architecture to cut out of AutoFormer's supernet
    config.arch = ""
    # of each block; 0: as the file or the config.json beside it says, else one for each 64 columns
    config.num_heads = 0
    # what its classifier reads: the class token (token) or the mean of the others (mean)
    config.pool = "token"
    # how its model standardises pixels: imagenet, half (-1 to 1), kinetics; empty: as it says or is
    # usual
    config.pixels = ""
    # whether the running mean is taken where the file holds both it and the last step's weights
    config.averaged = True
    # tokens a side of each length, longest first; of clips pairs (frames, tokens a side); empty:
    # the file's own
    config.lengths = ()
    # a text with the name of a class on each line; empty: as the config.json beside it says, else
    # numbers
    config.classes = ""
    config.dtype = "float32"  # of the computation: float32, bfloat16

    config.data = ml_collections.ConfigDict()
    # where assign and infer find images with labels: tfds:NAME, folder:PATH, npz:PATH; empty: name
    # it there
    config.data.source = ""
    # a split that the weights were trained on: assign wants others
    config.data.train_split = "train"
    config.data.test_split = "test"  # images that accuracy is measured on
    config.data.image_size = 0  # pixels a side; 0: the file's tokens times its patch
    config.data.crop_ratio = 0.875  # share of the shorter side that is looked at
    add_compile_cache(config)
    return config
