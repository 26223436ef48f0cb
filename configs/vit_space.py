"""Rank the vision transformers (or CNN cells) of a space without training any.

    # AutoFormer-Tiny; also :small, :base, :mini, :pit, :s3, :lvvit, :cifar, ...
    python -m vintk_jax.search --config configs/vit_space.py
    python -m vintk_jax.search --config configs/vit_space.py:small --config.limits.max_params_m=25

Scores 1,000 architectures by ViNTK on crops of the photographs that scikit-learn ships (no
download). Writes candidates.jsonl, best.json, pareto.json and report.html to runs/vit_space (or
--workdir). The README has the time it takes.
"""

import ml_collections

from vintk_jax.defaults.search import search

OTHERS = {"pit": "pit", "s3": "s3", "lvvit": "lvvit", "cifar": "cifar-vit", "mini": "vit-mini"}
CELLS = "nasbench201"


def get_config(size: str = "tiny") -> ml_collections.ConfigDict:
    """The search of one space: AutoFormer's "tiny", "small" or "base"; "pit"; "s3" (around
    AutoFormerV2-T); "lvvit"; "cifar" (small ViTs of many kinds); "mini" (narrow plain ViTs); or CNN
    cells, "nasbench201".
    """
    space = {**OTHERS, CELLS: CELLS}.get(size, f"autoformer-{size or 'tiny'}")
    config = search(space)
    if size in ("cifar", CELLS):
        config.inputs.image_size = 32  # the size that these networks are trained at
    if size == "cifar":
        config.ntk.num_classes = 10
    return config
