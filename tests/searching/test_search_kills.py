"""A search that is killed, stopped, resumed or shared ends as one that nothing has disturbed."""

import json
import os
import signal
import subprocess
import sys

import pytest
from searching.searches import (
    ENVIRONMENT,
    ROOT,
    command,
    outcome,
    search,
    start,
    wait_for_candidates,
)

from vintk_jax.errors import UserError


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
