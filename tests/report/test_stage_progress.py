"""How far a run of several stages says it is, by a clock of the test's own."""

import io
import json

import pytest
from rich.console import Console

from vintk_jax.report import progress as one_stage
from vintk_jax.report import stage_progress
from vintk_jax.report.progress import SHARED, Progress
from vintk_jax.report.stage_progress import StageProgress

PLANNED = {"search": 100.0, "train": 200.0, "assign": 50.0}


@pytest.fixture
def clock(monkeypatch):
    """Seconds, which the test sets."""
    now = [0.0]
    monkeypatch.setattr(stage_progress, "_now", lambda: now[0])
    return now


def told(done, total, left):
    """What a stage says of itself."""
    return {
        "phase": "at work",
        "done": done,
        "total": total,
        "unit": "steps",
        "seconds_left": left,
    }


def test_time_left_of_the_whole(clock):
    """By the plan until the stage knows better; later stages by the plan."""
    shown = StageProgress(PLANNED, (), Console(file=io.StringIO()))
    with shown:
        shown.begin("search")
        clock[0] = 30.0
        shown.tell(None)
        assert shown.seconds_left == pytest.approx(70 + 250)
        shown.tell(told(1, 10, 500.0))
        assert shown.seconds_left == pytest.approx(500 + 250)
        clock[0] = 50.0
        shown.tell(told(1, 10, 500.0))  # nothing new for 20 seconds
        assert shown.seconds_left == pytest.approx(480 + 250)
        shown.end()
        assert shown.seconds_left == pytest.approx(250)
        shown.begin("train")
        shown.end()
        shown.begin("assign")
        shown.tell(told(9, 10, 1.0))  # images; then come the assigner's steps
        assert shown.seconds_left == pytest.approx(50)


def test_a_run_that_goes_on(clock):
    """What is finished counts no more; a log has a line for each stage that begins."""
    printed = io.StringIO()
    with StageProgress(PLANNED, ("search",), Console(file=printed, width=200)) as shown:
        assert shown.seconds_left == 250
        shown.begin("train")
        clock[0] = 11.0
        shown.tell(told(3, 1000, 100.0))
    first, second = printed.getvalue().splitlines()
    assert first == "train (2 of 3): starting, 0:04:10 left of the whole"
    assert second == "train (2 of 3): at work: 3/1,000 steps, 0:02:30 left of the whole"


def test_bars_in_a_terminal(clock):
    """One for each stage, and one for the whole."""
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=True, force_interactive=True, width=100)
    with StageProgress(PLANNED, ("search",), console) as shown:
        shown.begin("train")
        clock[0] = 100.0
        shown.tell(told(500, 1000, 100.0))
    text = printed.getvalue()
    for said in ("search", "done", "train", "at work: 500/1,000 steps", "the whole"):
        assert said in text
    assert "0:02:30 left of the whole" in text


def test_a_stage_shares_its_progress(tmp_path, monkeypatch):
    """Any command's, through a file that the environment names."""
    monkeypatch.setenv(SHARED, str(tmp_path / "shared.json"))
    now = [0.0]
    monkeypatch.setattr(one_stage, "_now", lambda: now[0])
    with Progress(10, unit="steps", console=Console(file=io.StringIO())) as progress:
        progress.phase("training")
        now[0] = 2.0
        progress.update(4)
        shared = json.loads((tmp_path / "shared.json").read_text())
    assert shared == {
        "phase": "training",
        "done": 4,
        "total": 10,
        "unit": "steps",
        "seconds_left": 3.0,
    }
