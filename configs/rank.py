"""Hold scores against trained accuracies.

    python -m vintk_jax.rank --config configs/rank.py --config.table=my_table.json
    python -m vintk_jax.rank --config configs/rank.py --config.table=my_table.json \
      --config.proxies=vintk,params --config.num_architectures=100
    # CNN cells' own size
    python -m vintk_jax.rank --config configs/rank.py --config.table=nasbench201.json \
      --config.inputs.image_size=32

The table is a JSON object: {"space": "autoformer-tiny", "rows": [{"arch": {...}, "accuracy":
{"imagenet": 75.3}}, ...]}. Writes scores.jsonl as it goes, rank.json and rank.html at the end to
runs/rank (or --workdir; one for each table).
"""

import ml_collections

from vintk_jax.defaults.compile_cache import add_compile_cache
from vintk_jax.defaults.scoring import add_scoring


def get_config() -> ml_collections.ConfigDict:
    """Every proxy on every architecture of a table."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # draws the sample, weights, Fourier features, inputs and the bootstrap
    config.seeds = 1  # so many seeds from `seed` on; correlations are means over them
    config.table = ""  # JSON file of architectures and their accuracies
    config.proxies = "all"  # names with commas between them, or all; import paths to your own too
    config.num_architectures = 0  # a sample of so many rows of the table; 0 takes all
    # architectures scored in one call; 0 chooses: 4 a CPU core, 16 an accelerator
    config.batch_size = 0

    add_scoring(config)
    add_compile_cache(config)
    return config
