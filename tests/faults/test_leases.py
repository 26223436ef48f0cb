"""Who scores what when a lease has run out: nobody crashes, nobody waits for ever."""

import re
import time

import optuna
import psutil
import pytest
from tiny_space import SPACE

from vintk_jax.study.ledger import Ledger
from vintk_jax.study.sampler import TrialSampler
from vintk_jax.study.storage import open_study


def ledger_in(folder, **changed):
    sampler = TrialSampler(SPACE, "random", 0, lambda arch: True, 10)
    study, lock = open_study(folder, "", "x", ["maximize"], sampler)
    given = {"total": 3, "generation": None, "lease_s": 600.0, "remote": False, **changed}
    return Ledger(study, SPACE, lock, **given)


def result_of(candidate, score):
    return {"number": candidate.number, "arch": SPACE.to_json(candidate.arch), "score": score}


def on_another_host(monkeypatch, ledger, name):
    monkeypatch.setitem(ledger._me, "host", name)


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
    assert claim["host"] == quick._me["host"]


def test_a_suspended_process_is_named(tmp_path, monkeypatch):
    """With the time after which its candidates are taken over."""
    first, second = ledger_in(tmp_path, lease_s=100.0), ledger_in(tmp_path)
    monkeypatch.setitem(second._me, "started", 0.0)
    first.take(2)
    monkeypatch.setattr(psutil.Process, "status", lambda self: psutil.STATUS_STOPPED)
    assert re.search(r"process \d+ \(suspended\) with 2, (99|100) s at most", second.waiting_for())
