"""A search that can't run says why."""

import json
import math
import re

import pytest
from searching.searches import command, search, search_process

from vintk_jax.command_line import run
from vintk_jax.errors import UserError
from vintk_jax.search import main


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
