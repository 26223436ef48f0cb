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

from vintk_jax.defaults.rank import rank


def get_config() -> ml_collections.ConfigDict:
    """Every proxy on every architecture of a table."""
    return rank()
