"""The default config on its real space, too long for every run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def scores(workdir, *overrides):
    fixed = [
        "--config.search.algorithm=random",
        "--config.search.num_candidates=4",
        "--config.search.batch_size=2",
    ]
    config = ["--config", "configs/vit_space.py", "--workdir", str(workdir)]
    command = [sys.executable, "-m", "vintk_jax.search", *config, *fixed, *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return {
        json.dumps(row["arch"]): row["score"]
        for row in map(json.loads, (workdir / "candidates.jsonl").read_text().splitlines())
    }


def test_autoformer_tiny_scores_alike_by_both_implementations(tmp_path):
    ours = scores(tmp_path / "structured")
    reference = scores(tmp_path / "neural_tangents", "--config.ntk.implementation=neural_tangents")
    assert ours.keys() == reference.keys()
    assert len(ours) == 4
    for arch, score in ours.items():
        assert score == pytest.approx(reference[arch], rel=1e-5)
