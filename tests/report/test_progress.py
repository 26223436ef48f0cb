"""Progress: what it counts, and what it writes where nobody watches."""

import functools
import io
import re

import pytest
from rich.console import Console

from vintk_jax.report import progress as module
from vintk_jax.report.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes only when told: clock[0] is the time in seconds."""
    time = [100.0]
    monkeypatch.setattr(module, "_now", functools.partial(time.__getitem__, 0))
    return time


@pytest.fixture
def log():
    return Console(file=io.StringIO(), width=80)


def lines(console):
    return console.file.getvalue().splitlines()


def test_rate_and_time_left_count_this_run_alone(clock, log):
    with Progress(1000, done=600, console=log) as progress:
        clock[0] += 10
        progress.update(640)
        assert progress.rate == pytest.approx(4.0)
        assert progress.seconds_left == pytest.approx(360 / 4)
        clock[0] += 5
        assert progress.seconds_left == pytest.approx(360 / 4 - 5)
    assert "640/1000 candidates" in lines(log)[-1]
    assert "4.0/s" in lines(log)[-1]


@pytest.mark.parametrize("says_scoring", [True, False])
def test_the_first_update_after_compilation_is_not_in_the_rate(clock, log, says_scoring):
    with Progress(100, console=log) as progress:
        for start in (0, 20):
            progress.phase("compiling")
            clock[0] += 60
            if says_scoring:
                progress.phase("scoring")
            progress.update(start + 10)
            clock[0] += 2
            progress.update(start + 20)
            assert progress.rate == pytest.approx(5.0)


def test_what_follows_compilation_is_said_from_the_first_update_on(clock, log):
    with Progress(100, console=log) as progress:
        progress.phase("compiling", then="running")
        for done in (10, 20):
            clock[0] += 60
            progress.update(done)
        progress.phase("writing")
        progress.update(30)
        progress.phase("compiling")
        clock[0] += 60
        progress.update(40)
    phases = [line.split(":")[0] for line in lines(log)]
    assert phases == [
        "compiling",
        "running",
        "running",
        "writing",
        "compiling",
        "compiling",
        "stopped",
    ]


def test_nothing_is_said_that_is_not_known(clock, log):
    with Progress(10, console=log) as progress:
        assert progress.rate is None
        assert progress.seconds_left is None
        progress.phase("compiling")
        clock[0] += 10
        progress.update(0)
    assert lines(log) == [
        "compiling: 0/10 candidates",
        "compiling: 0/10 candidates",
        "stopped: 0/10 candidates",
    ]


def test_log_has_no_control_characters_and_few_lines(clock, log):
    with Progress(1000, console=log) as progress:
        progress.phase("compiling")
        progress.phase("scoring")
        progress.phase("scoring")
        for done in range(1, 1001):
            clock[0] += 0.035
            progress.update(done, best=done / 7)
        progress.phase("waiting for the other processes")
    said = log.file.getvalue()
    assert said.isascii()
    assert all(char.isprintable() or char == "\n" for char in said)
    assert [line.split(":")[0] for line in lines(log)] == [
        "compiling",
        *["scoring"] * 4,
        "waiting for the other processes",
        "done",
    ]
    assert "best 142.8571" in lines(log)[-1]


def test_the_last_line_tells_a_stop_from_an_end(clock, log):
    def interrupted():
        with Progress(10, unit="images", console=log) as progress:
            clock[0] += 1
            progress.update(4, best=-0.5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert lines(log) == ["stopped: 4/10 images, 4.0/s, 0:00:02 left, best -0.5000"]


def test_best_stays_until_a_new_one_comes(clock, log):
    with Progress(3, console=log) as progress:
        progress.update(1, best=2.0)
        progress.update(2)
        assert progress.best == 2.0


def test_unit_or_text_with_brackets_is_no_markup(clock, log):
    with Progress(1, unit="[red]units[/red]", console=log) as progress:
        progress.update(1)
    assert lines(log) == ["done: 1/1 [red]units[/red]"]


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_shows_one_line_that_fits(width):
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=True,
        color_system=None,
        legacy_windows=False,
    )
    with Progress(12000, done=600, console=console) as progress:
        progress.phase("waiting for the other processes")
        progress.update(11990, best=-123.4567)
    said = console.file.getvalue()
    assert "\x1b" in said
    shown = [
        line
        for line in re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", said).replace("\r", "\n").splitlines()
        if line.strip()
    ]
    assert "11990/12000" in shown[-1]
    assert "best -123.4567" in shown[-1]
    assert shown[-1].startswith("stopped")
    assert any(line.startswith("waiting for the other processes") for line in shown)
    assert max(map(len, shown)) <= width
