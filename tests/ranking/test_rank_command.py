"""The command from end to end on a table of small architectures: what it writes, that it resumes,
what it refuses.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from accessibility import VIEWS, check
from tiny_space import S3, SPACE

from vintk_jax import rank
from vintk_jax.errors import UserError
from vintk_jax.ranking import budgets, statistics, tables

SMALL = [
    "--config.inputs.image_size=32",
    "--config.inputs.num_images=4",
    "--config.ntk.num_classes=5",
    "--config.fourier.num_features=4",
    # one or two of each kind; every one compiles
    "--config.proxies=vintk,ntk_cond,snip,az_nas,params,flops,depth",
]


@pytest.fixture(scope="module", autouse=True)
def few_resamples():
    """Intervals are tested in test_statistics; here each would take a second for each proxy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 20)
        patch.setattr(statistics, "LEAST_RESAMPLES", 20)
        patch.setattr(budgets, "RESAMPLES", 20)
        yield


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A file of 12 architectures; the second accuracy is missing for one."""
    archs = list({SPACE.sample(np.random.default_rng(i)): None for i in range(30)})[:12]
    rows = [
        {
            "arch": SPACE.to_json(arch),
            "accuracy": {
                "params": SPACE.cost(arch).params / 1e4,
                "noise": None if i == 3 else float(i * 7 % 5),
            },
        }
        for i, arch in enumerate(archs)
    ]
    path = tmp_path_factory.mktemp("table") / "table.json"
    path.write_text(json.dumps({"table": "small", "space": "tiny_space:SPACE", "rows": rows}))
    return path


def run(table, workdir, *more):
    rank.main(
        [
            "rank",
            "--config=configs/rank.py",
            f"--config.table={table}",
            f"--workdir={workdir}",
            *SMALL,
            *more,
        ]
    )
    return json.loads((workdir / "rank.json").read_text())


@pytest.fixture(scope="module")
def ranked(table, tmp_path_factory):
    """The workdir of a run that nothing disturbed, and its rank.json."""
    workdir = tmp_path_factory.mktemp("ranked")
    return workdir, run(table, workdir)


def lines(workdir):
    return [json.loads(line) for line in (workdir / "scores.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("view", VIEWS)
def test_its_page_is_for_all_readers(ranked, tmp_path, view):
    """With tables and figures."""
    check(ranked[0] / "rank.html", tmp_path, view)


def test_rank_json_compares_the_scores_with_the_accuracies(ranked, table):
    workdir, result = ranked
    assert (result["table"], result["space"], result["num_architectures"]) == (
        "small",
        "tiny-test",
        12,
    )
    assert {"vintk", "ntk_cond", "params", "flops", "depth"} <= set(result["proxies"])
    assert result["proxies"]["params"]["accuracy"]["params"]["kendall_tau"] == 1
    assert result["proxies"]["params"]["accuracy"]["params"]["first_choice"]["rank"] == 1
    assert result["proxies"]["vintk"]["accuracy"]["noise"]["num_architectures"] == 11
    assert result["proxies"]["vintk"]["seconds_per_architecture"] > 0
    rows = json.loads(table.read_text())["rows"]
    score = np.array([line["scores"]["vintk"] for line in lines(workdir)])
    wanted = statistics.kendall_tau(score, np.array([row["accuracy"]["params"] for row in rows]))
    assert result["proxies"]["vintk"]["accuracy"]["params"]["kendall_tau"] == wanted


def test_the_page_shows_every_proxy_and_accuracy(ranked):
    page = (ranked[0] / "rank.html").read_text()
    for name in ranked[1]["proxies"]:
        assert page.count(f"<td>{name}</td>") == 2
    assert page.count("<svg") == 4  # a scatter and the gains under budgets, for two accuracies
    # by tau: params ranks itself perfectly
    assert page.index("<td>params</td>") < page.index("<td>vintk</td>")
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*', page)  # nothing is fetched


def test_a_killed_run_goes_on_to_the_same_scores(ranked, table, tmp_path):
    """Half of the scores are there, and half a line."""
    workdir, result = ranked
    for name in ("rank.config.json", "scores.jsonl"):
        (tmp_path / name).write_text((workdir / name).read_text())
    whole = (tmp_path / "scores.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "scores.jsonl").write_text("".join(whole[:6]) + whole[6][:20])
    again = run(table, tmp_path)
    assert [(x["row"], x["scores"]) for x in lines(tmp_path)] == [
        (x["row"], x["scores"]) for x in lines(workdir)
    ]

    def of(r):
        return {name: proxy["accuracy"] for name, proxy in r["proxies"].items()}

    assert of(again) == of(result)
    # nothing left to score
    assert (
        run(table, tmp_path)["proxies"]["vintk"]["peak_bytes"]
        == result["proxies"]["vintk"]["peak_bytes"]
        > 0
    )


def test_a_sample_has_the_scores_of_the_whole(ranked, table, tmp_path):
    """Other batches, fewer architectures, one proxy: the same numbers."""
    run(
        table,
        tmp_path,
        "--config.num_architectures=5",
        "--config.proxies=vintk,depth",
        "--config.batch_size=2",
    )
    whole = {line["row"]: line["scores"] for line in lines(ranked[0])}
    assert len(lines(tmp_path)) == 5
    for line in lines(tmp_path):
        assert line["scores"]["vintk"] == pytest.approx(whole[line["row"]]["vintk"], rel=1e-5)


@pytest.mark.slow
def test_windows_are_ranked_too(tmp_path):
    """A table of shifted-window architectures whose accuracies are seeded noise on their
    multiply-adds, which come out as its best score.
    """
    noise = np.random.default_rng(0)
    archs = list({S3.sample(np.random.default_rng(i)): None for i in range(20)})[:10]
    rows = [
        {
            "arch": S3.to_json(arch),
            "accuracy": {"made": S3.cost(arch).flops / 1e7 + noise.uniform(0, 0.01)},
        }
        for arch in archs
    ]
    (tmp_path / "table.json").write_text(
        json.dumps({"table": "windows", "space": "tiny_space:S3", "rows": rows})
    )
    result = run(tmp_path / "table.json", tmp_path / "out", "--config.proxies=vintk,params,flops")
    assert (result["space"], result["num_architectures"]) == ("mini-s3", 10)
    tau = {
        name: result["proxies"][name]["accuracy"]["made"]["kendall_tau"]
        for name in ("vintk", "params", "flops")
    }
    scores = {
        name: np.array([line["scores"][name] for line in lines(tmp_path / "out")]) for name in tau
    }
    made = np.array([row["accuracy"]["made"] for row in rows])
    assert tau == {name: statistics.kendall_tau(score, made) for name, score in scores.items()}
    assert tau["flops"] == max(tau.values()) > 0.9
    assert [line["scores"]["params"] for line in lines(tmp_path / "out")] == [
        S3.cost(arch).params for arch in archs
    ]
    assert len({round(score, 6) for score in scores["vintk"]}) > 5


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("--config.proxies=vintq", "vintk"),
        ("--config.proxies=,", "all"),
        ("--config.num_architectures=2", "three"),
        ("--config.table=", "--config.table=FILE"),
        ("--config.table=nowhere.json", "nowhere.json"),
        ("--config.table=configs/rank.py", "Expected a table of accuracies"),
    ],
)
def test_bad_input(table, tmp_path, override, says):
    with pytest.raises(UserError, match=says):
        run(table, tmp_path / "out", override)
    assert not (tmp_path / "out").exists()


def test_a_row_outside_the_space_is_named(table, tmp_path):
    content = json.loads(table.read_text())
    content["rows"][2]["arch"]["embed_dim"] = 17
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"row 2.*embed_dim"):
        tables.load(str(tmp_path / "bad.json"), 0, 0)


@pytest.mark.slow
def test_sigkill_at_any_moment_changes_nothing(ranked, table, tmp_path):
    """A process killed by the signal as soon as its first scores are written; the same command ends
    with the undisturbed run's scores.
    """
    root = Path(__file__).parents[2]
    command = [
        sys.executable,
        "-m",
        "vintk_jax.rank",
        "--config=configs/rank.py",
        f"--config.table={table}",
        f"--workdir={tmp_path}",
        *SMALL,
    ]
    command.append("--config.batch_size=2")
    environment = {
        **os.environ,
        "PYTHONPATH": str(root / "tests"),
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "xla"),
    }
    for _ in range(2):
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        scores = tmp_path / "scores.jsonl"
        before = len(lines(tmp_path)) if (tmp_path / "scores.jsonl").exists() else 0
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if scores.exists() and scores.read_text().count("\n") > before:
                break
            time.sleep(0.02)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "rank.json").exists()
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, timeout=300)
    workdir, result = ranked
    assert [x["arch"] for x in lines(tmp_path)] == [x["arch"] for x in lines(workdir)]
    for line, wanted in zip(lines(tmp_path), lines(workdir), strict=True):
        assert line["scores"]["params"] == wanted["scores"]["params"]
        np.testing.assert_allclose(line["scores"]["vintk"], wanted["scores"]["vintk"], rtol=1e-4)
    again = json.loads((tmp_path / "rank.json").read_text())
    with pytest.MonkeyPatch.context() as patch:  # the process has drawn as often as users do
        patch.setattr(statistics, "RESAMPLES", 1000)
        patch.setattr(statistics, "LEAST_RESAMPLES", 200)
        patch.setattr(budgets, "RESAMPLES", 200)
        result = run(table, workdir)  # nothing is scored anew
    assert again["proxies"]["params"]["accuracy"] == result["proxies"]["params"]["accuracy"]
