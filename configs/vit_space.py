"""Rank the vision transformers (or CNN cells) of a space without training any.

    # AutoFormer-Tiny; also :small, :base, :pit, :s3, :lvvit, :nasbench201
    python -m vintk_jax.search --config configs/vit_space.py
    python -m vintk_jax.search --config configs/vit_space.py:small --config.limits.max_params_m=25

Scores 1,000 architectures by ViNTK on crops of the photographs that scikit-learn ships (no
download). Writes candidates.jsonl, best.json, pareto.json and report.html to runs/vit_space (or
--workdir). The README has the time it takes.
"""

import ml_collections

from vintk_jax.defaults.search import search


def get_config(size: str = "tiny") -> ml_collections.ConfigDict:
    """The search of one space: AutoFormer's "tiny", "small" or "base"; "pit"; "s3" (around
    AutoFormerV2-T); "lvvit"; or CNN cells, "nasbench201".
    """
    config = search(
        size if size in ("pit", "s3", "lvvit", "nasbench201") else f"autoformer-{size or 'tiny'}"
    )
    if size == "nasbench201":
        config.inputs.image_size = 32  # what its networks were trained on
    return config
