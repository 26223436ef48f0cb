"""The search command as its users run it: killed, shared, misused. Where a process is killed or
shares its work it is one of its own; everywhere else the command runs in this one.
"""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_space import S3, SPACE

from vintk_jax.config import run
from vintk_jax.errors import UserError
from vintk_jax.search import main

ROOT = Path(__file__).parents[2]
# As many devices as this process has: their number decides the last bits of a score.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "JAX_NUM_CPU_DEVICES": "2"}
SMALL = [
    "--config.space=tiny_space:SPACE",
    "--config.inputs.num_images=4",
    "--config.inputs.image_size=16",
    "--config.ntk.num_classes=5",
    "--config.search.population=8",
    "--config.search.num_candidates=40",
]
QUICK = "--config.score.name=params"  # no kernels, for tests of what doesn't depend on the score


def command(workdir, *overrides):
    config = ["--config", "configs/vit_space.py", "--workdir", str(workdir)]
    return [sys.executable, "-m", "vintk_jax.search", *config, *SMALL, *overrides]


def search(workdir, *overrides):
    """A search in this process."""
    main(command(workdir, *overrides)[2:])


def search_process(workdir, *overrides):
    """A search in a process of its own, to its end."""
    return subprocess.run(
        command(workdir, *overrides),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def start(workdir, *overrides):
    """A search in a process of its own, running."""
    return subprocess.Popen(
        command(workdir, *overrides),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_candidates(process, workdir, count):
    """Until `count` candidates are written, or the process has ended."""
    path = workdir / "candidates.jsonl"
    deadline = time.time() + 120
    while process.poll() is None and not (path.exists() and path.read_text().count("\n") >= count):
        assert time.time() < deadline
        time.sleep(0.005)


def candidates(workdir):
    return [json.loads(line) for line in (workdir / "candidates.jsonl").read_text().splitlines()]


def outcome(workdir):
    """What must not depend on how often a search was killed or by how many processes it was run."""
    rows = {
        (json.dumps(c["arch"]), c["score"], c["params"], c["flops"]) for c in candidates(workdir)
    }
    assert (
        len(rows)
        == len(candidates(workdir))
        == len({json.dumps(c["arch"]) for c in candidates(workdir)})
    )
    return rows, json.loads((workdir / "best.json").read_text())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    done = search_process(workdir)
    assert done.returncode == 0, done.stderr
    return workdir, done


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


@pytest.mark.parametrize(
    "after", [11, *(pytest.param(after, marks=pytest.mark.slow) for after in (1, 27))]
)
def test_killed_and_resumed_equals_never_killed(undisturbed, tmp_path, capsys, after):
    """SIGKILL once `after` candidates are written; the same command goes on."""
    process = start(tmp_path)
    wait_for_candidates(process, tmp_path, after)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    search(tmp_path)
    assert "scoring: 0/40" not in capsys.readouterr().out  # it went on, not anew
    assert outcome(tmp_path) == outcome(undisturbed[0])


def test_torn_files_of_a_kill_are_mended(undisturbed, tmp_path):
    search(tmp_path, "--config.search.num_candidates=10")
    with (
        open(tmp_path / "journal.log", "ab") as journal,
        open(tmp_path / "candidates.jsonl", "ab") as rows,
    ):
        journal.write(b'{"op_code": 5, "study')
        rows.write(b'{"number": 3, "ar')
    search(tmp_path)
    assert outcome(tmp_path)[0] == outcome(undisturbed[0])[0]


def test_two_processes_share_one_search(undisturbed, tmp_path):
    pair = [start(tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    assert outcome(tmp_path) == outcome(undisturbed[0])  # also: no architecture twice
    journal = (tmp_path / "journal.log").read_text()
    # both took part
    assert len({op["worker_id"].split("-")[0] for op in map(json.loads, journal.splitlines())}) == 2


def test_one_of_two_processes_killed(undisturbed, tmp_path):
    pair = [start(tmp_path) for _ in range(2)]
    wait_for_candidates(pair[0], tmp_path, 6)
    pair[0].kill()
    pair[0].communicate()
    assert "Traceback" not in pair[1].communicate(timeout=300)[1]
    assert pair[1].returncode == 0
    assert outcome(tmp_path) == outcome(undisturbed[0])


def test_more_candidates_may_be_asked_for_later(undisturbed, tmp_path):
    search(tmp_path, "--config.search.num_candidates=13")
    search(tmp_path, "--config.search.batch_size=4")
    assert outcome(tmp_path) == outcome(undisturbed[0])
    with pytest.raises(UserError, match="can be raised, not lowered"):
        search(tmp_path, "--config.search.num_candidates=5")


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


def test_interrupt_stops_cleanly_and_says_how_to_go_on(tmp_path):
    # A shell's background jobs are born deaf to Ctrl-C.
    hearing = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hearing, *command(tmp_path)],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_candidates(process, tmp_path, 2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command goes on" in " ".join(out.split())
    assert "Traceback" not in err


def test_dry_run_writes_nothing(tmp_path, capsys):
    search(tmp_path / "dry", "--dry-run")
    said = capsys.readouterr().out
    assert "GiB" in said
    assert "minutes" in said
    assert not (tmp_path / "dry").exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["--config.search.num_candidate=3"], "'search.num_candidates'"),
        (["--config.space=autoformer-tinny"], "'autoformer-tiny'"),
        (["--config.score.name=vintkk"], "'vintk'"),
        (["--config.search.algorithm=nsga3"], "nsga2"),
        (["--config.limits.max_params_m=0.001"], "can't be met"),
        (["--config.limits.max_flops_m=-1"], "max_flops_m"),
        (["--config.inputs.source=folder:/nonexistent"], "no folder"),
        (["--config.inputs.source=imagenet"], "folder:PATH"),
        (["--config.inputs.image_size=20"], "multiple of its patch size"),
        (["--config.fourier.mode=patch", "--config.fourier.num_features=32"], "multiple of 256"),
        (["--config.fourier.num_features=7"], "even"),
        (["--config.ntk.memory_gb=0.0001", "--config.score.name=ntk_trace"], "inputs.num_images"),
        (["--config.ntk.cotangent=all"], "full"),
        (["--config.ntk.dtype=float16"], "float64"),
        (["--config.score.name=tiny_space:explodes"], "gave nan"),
        (["--config.score.name=tiny_space:raises"], "raised KeyError: 'planes'"),
        (["--config.score.name=tiny_space:says_nothing"], "wants to be a number"),
        (["--config.search.num_candidates=0"], "num_candidates"),
        (
            ["--config.search.algorithm=exhaustive", "--config.space=autoformer-tiny"],
            "random or nsga2",
        ),
        (["--config.search.storage=nosuch://db"], "could not be opened"),
        (["--workdr=x"], "workdir"),
    ],
)
def test_a_users_mistake_is_one_message(tmp_path, overrides, says):
    """In this process, where a UserError is what `config.run` turns into one message and exit code
    2.
    """
    with pytest.raises(UserError) as error:
        search(tmp_path, *overrides)
    assert says in str(error.value)
    assert not (tmp_path / "best.json").exists()


def test_a_users_mistake_ends_with_exit_code_2_and_no_traceback(tmp_path):
    """On the command line; and where it comes out only as the search runs."""
    done = search_process(tmp_path, "--config.search.num_candidate=3")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_mistake_that_a_search_runs_into_ends_with_exit_code_2(tmp_path, capsys):
    """What `config.run` makes of it."""
    with pytest.raises(SystemExit) as ended:
        run(main, command(tmp_path, "--config.score.name=tiny_space:explodes")[2:])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said


def test_candidates_whose_score_is_no_number(tmp_path, capsys):
    """Are kept as failed, counted and shown; the others are searched, and a second run finds all
    done.
    """
    search(tmp_path, "--config.score.name=tiny_space:sometimes_explodes")
    said = capsys.readouterr().out
    found = re.search(r"(\d+) could not be scored, and were left out\. The first: The score", said)
    assert found
    scored = [json.loads(line) for line in (tmp_path / "candidates.jsonl").read_text().splitlines()]
    assert scored
    assert all(math.isfinite(candidate["score"]) for candidate in scored)
    assert "Score is no number" in (tmp_path / "report.html").read_text()
    search(tmp_path, "--config.score.name=tiny_space:sometimes_explodes")
    again = [json.loads(line) for line in (tmp_path / "candidates.jsonl").read_text().splitlines()]
    assert again == scored


def test_a_workdir_of_another_config_is_left_alone(undisturbed):
    workdir, _ = undisturbed
    before = {p.name: p.read_bytes() for p in workdir.iterdir()}
    with pytest.raises(UserError, match=r"fourier\.sigma.*seed was 0, now 5"):
        search(workdir, "--config.seed=5", "--config.fourier.sigma=2")
    assert {p.name: p.read_bytes() for p in workdir.iterdir()} == before


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
        "import sys, vintk_jax.search, vintk_jax.study.run, vintk_jax.ntk; print('tensorflow' in "
        "sys.modules)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", heavy], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        == "False"
    )


def test_no_warnings_of_libraries_between_the_lines(undisturbed):
    assert "warning" not in (undisturbed[1].stderr + undisturbed[1].stdout).lower()


@pytest.mark.slow
def test_a_killed_process_that_nobody_asked_after(undisturbed, tmp_path):
    """It stays a zombie for as long as its parent lives; what it held is taken over all the
    same.
    """
    killed = start(tmp_path)
    wait_for_candidates(killed, tmp_path, 6)
    os.kill(killed.pid, signal.SIGKILL)
    search(tmp_path)
    assert outcome(tmp_path) == outcome(undisturbed[0])
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
