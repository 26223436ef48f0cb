"""Who scores which trial: claims, leases, duplicates, and what is finished.

All processes on one workdir take turns under a lock that dies with its holder. A claim is a trial
in Optuna's state RUNNING with the attribute `claim`: who holds it and until when.

A claim is void when its process on this host is gone, or suspended beyond its lease. On another
host it is void when its lease has run out. The trial is then open to all. While a process works,
its leases are renewed (`renewing`), also those of trials that wait for a generation to end. A
process that has lost a lease drops the trial's result.

Parameters are a function of the trial's number (`sampler`), so whoever takes a trial over scores
the same architecture. An architecture that is finished, or is being scored under another number, is
never scored again.
"""

import contextlib
import dataclasses
import os
import time
from contextlib import AbstractContextManager
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from vintk_jax.searching import leases
from vintk_jax.searching.locks import Lock
from vintk_jax.spaces import SearchSpace

_GRACE_S = 30.0


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A trial with its architecture."""

    number: int
    trial: optuna.Trial
    arch: Any


class Ledger:
    """One process's view of a study.

    Args:
        lock: of the search; see `locks.lock_of`.
        total: trials in all.
        generation: trials that must be finished together before later ones begin; None for no such
            barrier.
        lease_s: how long a claim of another host holds.
        remote: whether other hosts may take part, which the lock need not reach.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        lock: Lock,
        *,
        total: int,
        generation: int | None,
        lease_s: float,
        remote: bool,
    ):
        self.study = study
        self.space = space
        self.total = total
        self.lock = lock
        self._generation = generation or max(total, 1)
        self._lease_s = lease_s
        self._remote = remote
        self._process = leases.identity()
        self._known: dict[int, tuple[Any, dict]] = {}  # results by trial number
        self._progressed = False
        self._claimed: dict[int, Candidate] = {}  # by this process
        self._waiting: dict[int, optuna.Trial] = {}  # claimed, for the next generation

    def finished(self) -> list[FrozenTrial]:
        """Finished trials by number."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def results(self) -> dict[Any, dict]:
        """What is known of every architecture that was scored or found infeasible, by
        architecture.
        """
        for trial in self.finished():
            if trial.number not in self._known:
                result = trial.user_attrs["result"]
                self._known[trial.number] = (self.space.from_json(result["arch"]), result)
        return {arch: result for _, (arch, result) in sorted(self._known.items(), reverse=True)}

    def take(self, count: int) -> list[Candidate]:
        """Claim up to `count` trials whose architectures nobody scores or has scored.

        Trials that repeat a finished architecture are closed with its result on the way. An empty
        list means: all is finished (`done`), or the rest is in other hands and it is time to wait.
        """
        with self.lock:
            trials = self.study.get_trials(deepcopy=False)
            self._reclaim(trials)
            finished = len(self.finished())
            self._progressed = False
            results = self.results()
            claims = (t.user_attrs.get("claim", {}) for t in trials if self._is_others(t))
            busy = {self.space.from_json(claim["arch"]) for claim in claims if "arch" in claim}
            chosen: list[Candidate] = []
            for _, candidate in sorted(self._claimed.items()):
                self._close_or_choose(candidate, results, busy, chosen)
            number = len(trials)
            while len(chosen) < count and number < min(
                self.total, (finished // self._generation + 1) * self._generation
            ):
                candidate = self._open(self.study.ask())
                if candidate is None:
                    break
                number = candidate.number + 1
                finished += self._close_or_choose(candidate, results, busy, chosen)
            return chosen[:count]

    def close(
        self,
        candidate: Candidate,
        result: dict,
        values: list[float],
        violations: dict[str, float] | None = None,
    ) -> bool:
        """Record a trial's result and finish it.

        False where another process has finished it since our lease ran out. The result is then
        dropped.
        """
        self._claimed.pop(candidate.number, None)
        self._progressed = True
        try:
            for name, excess in (violations or {}).items():
                candidate.trial.set_constraint(name, excess)
            candidate.trial.set_user_attr(
                "result", result | {"values": values, "violations": violations or {}}
            )
            self.study.tell(candidate.number, values)
        except (UpdateFinishedTrialError, ValueError):
            # Optuna's `tell` raises ValueError for a trial that is finished already.
            state = self.study.get_trials(deepcopy=False)[candidate.number].state
            if not state.is_finished():
                raise
            return False
        return True

    def renewing(self) -> AbstractContextManager[None]:
        """Keep the leases of this process alive while the body runs."""
        return leases.kept_alive(self.renew, self._lease_s)

    def waiting_for(self) -> str:
        """For whom this process waits, for how many candidates, and for how long at most."""
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        claims = [t.user_attrs["claim"] for t in trials if "claim" in t.user_attrs]
        return leases.described(
            [c for c in claims if not self._process.items() <= c.items()], self._process
        )

    def renew(self) -> None:
        """Make the leases of this process's claims as long as new ones."""
        with self.lock:
            trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            for trial in trials:
                held = self._held(trial.number)
                if held is None or not self._is_ours(trial):
                    continue
                # Another host, which the lock need not reach, may finish it this moment.
                with contextlib.suppress(UpdateFinishedTrialError):
                    held.set_user_attr("claim", trial.user_attrs["claim"] | self._claim())

    def made_progress(self) -> bool:
        """Whether the last `take` closed something, so that looking again at once is worth it."""
        return self._progressed

    def done(self) -> bool:
        """Whether every trial is finished."""
        return self._finished_below(self.total) >= self.total

    def _finished_below(self, number: int) -> int:
        """How many trials of a smaller number are finished."""
        return sum(trial.number < number for trial in self.finished())

    def _close_or_choose(
        self, candidate: Candidate, results: dict, busy: set, chosen: list[Candidate]
    ) -> bool:
        """Close a repeat, choose a new architecture, or leave a duplicate for later. True when this
        process has closed it.
        """
        if candidate.arch in results:
            known = results[candidate.arch]
            return self.close(candidate, known, known["values"], known["violations"])
        if candidate.arch not in busy:
            busy.add(candidate.arch)
            chosen.append(candidate)
        return False

    def _open(self, trial: optuna.Trial) -> Candidate | None:
        """Claim a trial and draw its parameters.

        None while the generation before it isn't finished: the trial is kept for later. None, too,
        when another host has finished it: the trial is dropped.
        """
        try:
            return self._opened(trial)
        except UpdateFinishedTrialError:
            self._waiting.pop(trial.number, None)
            return None

    def _opened(self, trial: optuna.Trial) -> Candidate | None:
        number = trial.number
        generation_start = number // self._generation * self._generation
        if generation_start and self._finished_below(generation_start) < generation_start:
            trial.set_user_attr("claim", self._claim())
            self._waiting[number] = trial
            return None
        self._waiting.pop(number, None)
        chosen = {
            name: trial.suggest_categorical(name, options)
            for name, options in self.space.choices().items()
        }
        arch = self.space.decode(chosen)
        trial.set_user_attr("claim", self._claim() | {"arch": self.space.to_json(arch)})
        self._claimed[number] = Candidate(number, trial, arch)
        return self._claimed[number]

    def _claim(self) -> dict[str, Any]:
        return self._process | {"until": time.time() + self._lease_s}

    def _held(self, number: int) -> optuna.Trial | None:
        """The trial of that number that this process took and hasn't finished, if there is one."""
        candidate = self._claimed.get(number)
        return candidate.trial if candidate else self._waiting.get(number)

    def _is_ours(self, trial: FrozenTrial) -> bool:
        """Whether a trial runs and its claim is this process's still."""
        claim = trial.user_attrs.get("claim", {})
        return trial.state == TrialState.RUNNING and self._process.items() <= claim.items()

    def _is_others(self, trial: FrozenTrial) -> bool:
        """Whether a running trial is validly held by another process."""
        claim = trial.user_attrs.get("claim")
        if trial.state != TrialState.RUNNING or self._held(trial.number) is not None:
            return False
        if claim is None:  # under the lock only another host can be between asking and claiming
            return self._remote and time.time() - trial.datetime_start.timestamp() < _GRACE_S
        return leases.is_valid(claim, self._process["host"])

    def _reclaim(self, trials: list[FrozenTrial]) -> None:
        """Take over what dead processes left, and open what had to wait for a generation, unless
        another host has it by now.
        """
        for number, trial in list(self._waiting.items()):
            if self._is_ours(trials[number]):
                self._open(trial)
            else:
                del self._waiting[number]
        for trial in trials:
            held = self._held(trial.number) is not None or self._is_others(trial)
            if trial.state == TrialState.RUNNING and not held:
                # killed between writing the result and closing the trial
                if "result" in trial.user_attrs:
                    values = trial.user_attrs["result"]["values"]
                    self.study.tell(trial.number, values, skip_if_finished=True)
                else:
                    self._open(optuna.Trial(self.study, trial._trial_id))


def wait_for_others() -> None:
    """Sleep a moment before looking again at what other processes have finished."""
    time.sleep(0.2 + 0.1 * (os.getpid() % 3))
