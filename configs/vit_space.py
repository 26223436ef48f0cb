"""Rank the vision transformers (or CNN cells) of a space without training any.

    python -m vintk_jax.search --config configs/vit_space.py            # AutoFormer-Tiny; also :small, :base, :pit, :nasbench201
    python -m vintk_jax.search --config configs/vit_space.py:small --config.limits.max_params_m=25

Scores 1,000 architectures by ViNTK on crops of the photographs that scikit-learn ships (no download). Writes candidates.jsonl, best.json,
pareto.json and report.html to runs/vit_space (or --workdir). The README has the time it takes.
"""

import ml_collections

from vintk_jax.defaults.scoring import add_scoring


def get_config(size: str = "tiny") -> ml_collections.ConfigDict:
    """The search of one space: AutoFormer's "tiny", "small" or "base"; "pit"; or CNN cells, "nasbench201"."""
    config = ml_collections.ConfigDict()
    config.seed = 0  # draws candidates, weights, Fourier features and inputs; the same seed gives the same best.json
    name = size if size in ("pit", "nasbench201") else f"autoformer-{size or 'tiny'}"
    config.space = name  # autoformer-tiny, -small, -base, pit, nasbench201, or your own: package.module:SPACE

    config.search = ml_collections.ConfigDict()
    config.search.algorithm = "nsga2"  # random; nsga2: score against multiply-adds; exhaustive: every architecture of a small space
    config.search.num_candidates = 1000  # trials in all; a resumed search may raise it
    config.search.population = 50  # nsga2: trials a generation, which ends before the next begins
    config.search.batch_size = 0  # candidates scored in one call; what a kill loses at most; 0 chooses: 4 a CPU core, 16 an accelerator
    config.search.storage = ""  # Optuna storage URL to share over machines (needs Optuna's driver); empty: a journal file in the workdir
    config.search.lease_s = 600.0  # seconds after which a candidate of a silent process on another machine is taken over

    config.limits = ml_collections.ConfigDict()
    config.limits.max_params_m = 0.0  # millions of parameters at 224 px and 1,000 classes; 0 is no limit
    config.limits.max_flops_m = 0.0  # millions of multiply-adds at 224 px; 0 is no limit
    config.limits.max_latency_ms = 0.0  # milliseconds for one 224 px image, measured on this machine; 0 is no limit

    add_scoring(config)
    if name == "nasbench201":
        config.inputs.image_size = 32  # what its networks were trained on

    config.score = ml_collections.ConfigDict()
    config.score.name = "vintk"  # vintk, a baseline (see vintk_jax/proxies), or your own: package.module:function
    return config
