"""Who scores what when a lease has run out: nobody crashes, nobody waits for ever."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import optuna
import psutil
import pytest
from tiny_space import SPACE

from vintk_jax.searching import locks
from vintk_jax.searching.ledger import Ledger
from vintk_jax.searching.sampler import TrialSampler
from vintk_jax.searching.storage import open_study


def ledger_in(folder, **changed):
    sampler = TrialSampler(SPACE, "random", 0, lambda arch: True, 10)
    study, lock = open_study(folder, "", "x", ["maximize"], sampler)
    given = {"total": 3, "generation": None, "lease_s": 600.0, "remote": False, **changed}
    return Ledger(study, SPACE, lock, **given)


def result_of(candidate, score):
    return {"number": candidate.number, "arch": SPACE.to_json(candidate.arch), "score": score}


def on_another_host(monkeypatch, ledger, name):
    monkeypatch.setitem(ledger._process, "host", name)


def test_a_late_result_is_dropped(tmp_path, monkeypatch):
    """The lease has run out, another host has taken the candidate over and finished it: its result
    stays, and the late one goes on with the rest.
    """
    late = ledger_in(tmp_path, lease_s=-1.0, remote=True)
    on_another_host(monkeypatch, late, "slow")
    (candidate,) = late.take(1)
    quick = ledger_in(tmp_path, remote=True)
    taken = {one.number: one for one in quick.take(3)}
    assert candidate.number in taken
    assert quick.close(taken[candidate.number], result_of(candidate, 1.0), [1.0])
    assert not late.close(candidate, result_of(candidate, 2.0), [2.0])
    assert [trial.value for trial in quick.finished()] == [1.0]
    assert late.results()[candidate.arch]["score"] == 1.0


@pytest.mark.parametrize(
    ("status", "lease_s", "held"),
    [
        (psutil.STATUS_RUNNING, -1.0, True),
        (psutil.STATUS_STOPPED, 600.0, True),
        (psutil.STATUS_STOPPED, -1.0, False),
        (psutil.STATUS_ZOMBIE, 600.0, False),
    ],
)
def test_workers_on_one_host(tmp_path, monkeypatch, status, lease_s, held):
    """A living one keeps what it has, a suspended one until its lease runs out, a dead one
    nothing.
    """
    first = ledger_in(tmp_path, lease_s=lease_s)
    (candidate,) = first.take(1)
    second = ledger_in(tmp_path)
    monkeypatch.setattr(psutil.Process, "status", lambda self: status)
    numbers = [one.number for one in second.take(3)]
    assert (candidate.number not in numbers) == held


def test_other_errors_of_the_storage_are_told(tmp_path, monkeypatch):
    """Only a trial that is finished already is a late one."""
    ledger = ledger_in(tmp_path)
    (candidate,) = ledger.take(1)

    def refuse(*args, **named):
        raise ValueError("values are wrong")

    monkeypatch.setattr(optuna.Study, "tell", refuse)
    with pytest.raises(ValueError, match="values are wrong"):
        ledger.close(candidate, result_of(candidate, 1.0), [1.0])


@pytest.mark.parametrize("total", [1, 2, 3])
def test_no_more_trials_than_were_asked_for(tmp_path, total):
    """However many a call could take."""
    ledger = ledger_in(tmp_path, total=total)
    assert [candidate.number for candidate in ledger.take(10)] == list(range(total))
    assert len(ledger.study.get_trials()) == total


def test_leases_are_renewed_while_work_goes_on(tmp_path, monkeypatch):
    """A batch longer than its lease stays with its host; without work the lease runs out."""
    slow = ledger_in(tmp_path, lease_s=0.3, remote=True)
    on_another_host(monkeypatch, slow, "slow")
    other = ledger_in(tmp_path, remote=True)
    (candidate,) = slow.take(1)
    with slow.renewing():
        time.sleep(1.0)
        assert candidate.number not in [one.number for one in other.take(3)]
        assert "process" in other.waiting_for()
        assert "on slow with 1, 0 s at most" in other.waiting_for()
    time.sleep(0.5)
    assert candidate.number in [one.number for one in other.take(3)]


def test_a_lost_lease_is_not_renewed(tmp_path, monkeypatch):
    """Another host has taken the candidate over, and keeps it."""
    late = ledger_in(tmp_path, lease_s=-1.0, remote=True)
    on_another_host(monkeypatch, late, "slow")
    (candidate,) = late.take(1)
    quick = ledger_in(tmp_path, remote=True)
    quick.take(3)
    late.renew()
    claim = late.study.get_trials()[candidate.number].user_attrs["claim"]
    assert claim["host"] == quick._process["host"]


def test_a_suspended_process_is_named(tmp_path, monkeypatch):
    """With the time after which its candidates are taken over."""
    first = ledger_in(tmp_path, lease_s=100.0)
    second = ledger_in(tmp_path)
    monkeypatch.setitem(second._process, "started", 0.0)
    first.take(2)
    monkeypatch.setattr(psutil.Process, "status", lambda self: psutil.STATUS_STOPPED)
    assert re.search(r"process \d+ \(suspended\) with 2, (99|100) s at most", second.waiting_for())


def waiting_for_a_generation(folder, monkeypatch, **changed):
    """Two ledgers of two hosts: one scores the only trial of the first generation, the other has
    claimed the next one early.
    """
    given = {"generation": 1, "remote": True} | changed
    first = ledger_in(folder, **given)
    early = ledger_in(folder, **given)
    on_another_host(monkeypatch, early, "early")
    (candidate,) = first.take(1)
    early._open(early.study.ask())
    assert list(early._waiting) == [1]
    return first, early, candidate


def claim_of(ledger, number):
    return ledger.study.get_trials()[number].user_attrs["claim"]


def test_the_lease_of_a_waiting_trial_is_renewed(tmp_path, monkeypatch):
    """As that of a candidate is."""
    _, early, _ = waiting_for_a_generation(tmp_path, monkeypatch)
    before = claim_of(early, 1)
    early.renew()
    after = claim_of(early, 1)
    assert after["until"] > before["until"]
    assert {**after, "until": 0} == {**before, "until": 0}


@pytest.mark.parametrize("finished", [True, False])
def test_a_waiting_trial_that_was_lost_is_dropped(tmp_path, monkeypatch, finished):
    """Its lease has run out, another host has taken it over, and finished it or is at it: its claim
    and its result stay, and the rest goes on.
    """
    first, early, candidate = waiting_for_a_generation(tmp_path, monkeypatch, lease_s=-1.0)
    first._lease_s = 600.0
    assert first.close(candidate, result_of(candidate, 1.0), [1.0])
    taken = {one.number: one for one in first.take(3)}
    assert 1 in taken
    if finished:
        assert first.close(taken[1], result_of(taken[1], 2.0), [2.0])
    early.renew()
    numbers = [one.number for one in early.take(3)]
    assert 1 not in numbers
    assert not early._waiting
    assert claim_of(early, 1)["host"] == first._process["host"]
    assert early.study.get_trials()[1].value == (2.0 if finished else None)


def test_a_waiting_trial_that_is_finished_this_moment(tmp_path, monkeypatch):
    """The lock doesn't reach every host: a trial may end between looking and opening it."""
    first, early, candidate = waiting_for_a_generation(tmp_path, monkeypatch)
    trials = early.study.get_trials()
    assert first.close(candidate, result_of(candidate, 1.0), [1.0])
    first.study.tell(1, [2.0])
    early._reclaim(trials)
    assert not early._waiting
    assert 1 not in early._claimed


HOLDER = """
import os, signal, sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    if sys.argv[2] == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A function that starts a process which holds the lock `x.lock`, and stops itself or not."""
    started = []

    def start(how):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path / "x.lock"), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        while how == "stop" and psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux says who holds a lock")
@pytest.mark.parametrize("how", ["stop", "run"])
def test_who_holds_the_lock_is_told(tmp_path, capfd, holder, how):
    """Once, although two threads wait for it; both get it when the holder goes on."""
    process = holder(how)
    lock = locks.WorkdirLock(tmp_path / "x.lock", patience_s=0.2)
    taken = []

    def take():
        with lock, lock:  # may be entered again
            taken.append(1)

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.8)
    assert not taken
    os.kill(process.pid, signal.SIGCONT)
    process.stdin.close()
    for thread in threads:
        thread.join(timeout=10)
    assert len(taken) == 2
    told = capfd.readouterr().err.splitlines()
    assert len(told) == 1
    assert f"x.lock has been held for 0.2 s or more by process {process.pid}" in told[0]
    assert (f"(suspended); let it go on (kill -CONT {process.pid})" in told[0]) == (how == "stop")
    assert "goes on waiting" in told[0]


def test_a_short_wait_is_not_told(tmp_path, capfd):
    """And threads of one process exclude each other."""
    lock = locks.WorkdirLock(tmp_path / "x.lock")
    inside = []

    def work():
        for _ in range(5):
            with lock:
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not inside
    assert not capfd.readouterr().err


def test_the_list_of_locks(tmp_path):
    """By device and number of the file; who waits, and who can't be seen from here, is left out."""
    path = tmp_path / "x.lock"
    path.touch()
    status = path.stat()
    own = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    other = f"ff:7f:{status.st_ino}"
    listed = tmp_path / "locks"

    def found(*rows):
        listed.write_text("".join(f"1: {row} 0 EOF\n" for row in rows))
        return locks.holders(path, listed)

    assert found(
        f"FLOCK  ADVISORY  WRITE 12 {own}",
        f"-> FLOCK  ADVISORY  WRITE 13 {own}",
        f"FLOCK  ADVISORY  WRITE 14 {other}",
        f"FLOCK  ADVISORY  WRITE 15 {own}1",
    ) == [12]
    assert found(f"FLOCK  ADVISORY  WRITE 14 {other}") == [14]
    assert found(f"FLOCK  ADVISORY  WRITE 0 {own}") == []
    assert locks.holders(path, tmp_path / "none") == []
    assert locks.described([]) == "another process"
