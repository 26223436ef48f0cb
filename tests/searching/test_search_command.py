"""The search command as its users run it: what it writes and says."""

import json
import subprocess
import sys
import time

import pytest
from searching.searches import QUICK, ROOT, candidates, outcome, search
from tiny_space import S3, SPACE

from vintk_jax.errors import UserError


def test_files_and_last_line(undisturbed):
    workdir, done = undisturbed
    rows, best = outcome(workdir)
    assert best["score"] == max(score for _, score, _, _ in rows)
    assert set(best) >= {"space", "arch", "score", "params", "flops", "seed", "config"}
    front = json.loads((workdir / "pareto.json").read_text())["candidates"]
    for member in front:  # the definition: nobody is as cheap and as good, and better in one
        assert not any(
            s >= member["score"]
            and f <= member["flops"]
            and (s > member["score"] or f < member["flops"])
            for _, s, _, f in rows
        )
    assert "report.html" in done.stdout.splitlines()[-1] or "report.html" in done.stdout[-200:]
    assert (workdir / "report.html").stat().st_size > 10_000


def test_same_seed_same_result_other_seed_other_draws(undisturbed, tmp_path):
    search(tmp_path / "again")
    assert outcome(tmp_path / "again") == outcome(undisturbed[0])
    search(tmp_path / "other", "--config.seed=1", "--config.search.num_candidates=8")
    assert outcome(tmp_path / "other")[0] != outcome(undisturbed[0])[0]


def test_exhaustive_scores_every_architecture_once(tmp_path):
    search(
        tmp_path,
        "--config.search.algorithm=exhaustive",
        "--config.search.num_candidates=100000",
        "--config.score.name=ntk_trace",
    )
    rows, _ = outcome(tmp_path)
    assert {arch for arch, *_ in rows} == {
        json.dumps(SPACE.to_json(arch)) for arch in SPACE.enumerate()
    }


@pytest.mark.slow
def test_a_space_of_windows(tmp_path):
    """A search of shifted-window models ends with a best one that belongs to their space."""
    search(
        tmp_path,
        "--config.space=tiny_space:S3",
        "--config.inputs.image_size=32",
        "--config.search.num_candidates=10",
    )
    rows, best = outcome(tmp_path)
    assert len(rows) == 10
    assert best["score"] == max(score for _, score, _, _ in rows)
    assert best["params"] == S3.cost(S3.from_json(best["arch"])).params


@pytest.mark.parametrize("algorithm", ["random", "nsga2"])
def test_limits_are_kept(tmp_path, algorithm):
    limits = ("--config.limits.max_params_m=0.063", "--config.limits.max_flops_m=20.0")
    search(tmp_path, f"--config.search.algorithm={algorithm}", QUICK, *limits)
    rows, best = outcome(tmp_path)
    assert rows
    assert all(params <= 63_000 and flops <= 20_000_000 for _, _, params, flops in rows)
    assert best["limits"] == {"max_params_m": 0.063, "max_flops_m": 20.0}


def test_a_latency_limit_is_measured(tmp_path):
    two = (QUICK, "--config.search.num_candidates=2")
    search(
        tmp_path, "--config.limits.max_latency_ms=1000", "--config.search.algorithm=random", *two
    )
    assert all(0 < c["latency_ms"] < 1000 for c in candidates(tmp_path))
    with pytest.raises(UserError, match="All candidates broke a limit"):
        search(tmp_path / "none", "--config.limits.max_latency_ms=1e-4", *two)


@pytest.mark.slow
def test_own_score_and_reference_implementation(tmp_path):
    own = (
        "--config.score.name=tiny_space:trace_plus_depth",
        "--config.search.num_candidates=6",
        "--config.search.algorithm=random",
    )
    search(tmp_path / "fast", *own)
    search(tmp_path / "reference", *own, "--config.ntk.implementation=neural_tangents")
    fast, reference = (
        sorted((json.dumps(c["arch"]), c["score"]) for c in candidates(tmp_path / name))
        for name in ("fast", "reference")
    )
    assert [arch for arch, _ in fast] == [arch for arch, _ in reference]
    assert [score for _, score in fast] == pytest.approx(
        [score for _, score in reference], rel=1e-4
    )


def test_dry_run_writes_nothing(tmp_path, capsys):
    search(tmp_path / "dry", "--dry-run")
    said = capsys.readouterr().out
    assert "GiB" in said
    assert "minutes" in said
    assert not (tmp_path / "dry").exists()


def test_help_is_quick_and_says_what_fields_mean():
    start = time.perf_counter()
    shown = subprocess.run(
        [sys.executable, "-m", "vintk_jax.search", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert time.perf_counter() - start < 3
    assert "--config.search.num_candidates=1000" in shown.stdout
    assert "trials in all" in shown.stdout
    heavy = (
        "import sys, vintk_jax.search, vintk_jax.searching.run, vintk_jax.ntk; "
        "print('tensorflow' in sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", heavy], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


def test_no_warnings_of_libraries_between_the_lines(undisturbed):
    assert "warning" not in (undisturbed[1].stderr + undisturbed[1].stdout).lower()
