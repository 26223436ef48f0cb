"""The loop of a search: take candidates, score them, record them, until all trials are finished."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vintk_jax.errors import UserError
from vintk_jax.proxies.scorer import Scorer, score
from vintk_jax.scored_candidate import ScoredCandidate
from vintk_jax.searching import results
from vintk_jax.searching.ledger import Candidate, Ledger, wait_for_others
from vintk_jax.searching.limits import Limits, measure_latency_ms
from vintk_jax.spaces import Cost

MOST_FAILED = 20  # candidates, all of them so far, that a search goes on after


def run(
    ledger: Ledger,
    scorer: Scorer,
    proxy: Any,
    limits: Limits,
    workdir: Path,
    *,
    two_objectives: bool,
    report: Callable[[int, float | None], None],
    phase: Callable[[str], None],
) -> list[ScoredCandidate]:
    """Score until all trials are finished. Returns the scored candidates by trial number.

    Args:
        two_objectives: whether multiply-adds are minimised beside the score.
        report: called with (finished trials, best score so far).
        phase: called with what is going on.

    Raises:
        UserError: when nothing could be scored at all. A candidate whose kernel or score is no
            number is kept as failed, and the search goes on.
    """
    with ledger.lock:
        known = results.scored(ledger.results().values())
        results.rewrite(workdir, known)
    best = max((candidate.score for candidate in known), default=None)
    report(len(ledger.finished()), best)
    compiled = False
    while not ledger.done():
        count = scorer.batch_size if compiled else scorer.first_batch_size
        batch = _next_batch(ledger, count, limits, two_objectives, phase)
        if batch:
            if not compiled:
                phase("compiling")
                with ledger.renewing():
                    scorer.compile()
                compiled = True
            phase("scoring")
            scores = _score_batch(ledger, scorer, proxy, batch, workdir, two_objectives)
            best = max(scores if best is None else [best, *scores], default=None)
            _check_some_score(ledger)
        elif not ledger.made_progress():
            phase(ledger.waiting_for())
            wait_for_others()
        report(len(ledger.finished()), best)
    candidates = results.scored(ledger.results().values())
    if not candidates:
        raise _nothing_scored(failures(ledger))
    with ledger.lock:
        results.rewrite(workdir, candidates)
    return candidates


@dataclasses.dataclass(frozen=True)
class _Counted:
    """A candidate with its counted cost, and its measured latency where a limit asks for it."""

    candidate: Candidate
    cost: Cost
    latency_ms: float | None

    def result(self, ledger: Ledger) -> dict[str, Any]:
        """What is known of it before it is scored, as the ledger keeps it."""
        return {
            "number": self.candidate.number,
            "arch": ledger.space.to_json(self.candidate.arch),
            "score": None,
            "params": self.cost.params,
            "flops": self.cost.flops,
            "latency_ms": self.latency_ms,
        }

    def values(self, score: float | None, two_objectives: bool) -> list[float]:
        """The values of its trial. Without a score it is worse than all others."""
        value = float("-inf") if score is None else score
        return [value, float(self.cost.flops)] if two_objectives else [value]


def _next_batch(
    ledger: Ledger,
    count: int,
    limits: Limits,
    two_objectives: bool,
    phase: Callable[[str], None],
) -> list[_Counted]:
    """Candidates to score, up to `count`. Those that break a limit are closed without a score."""
    batch = []
    for candidate in ledger.take(count):
        cost = ledger.space.cost(candidate.arch)
        latency_ms = None
        if limits.max_latency_ms and not limits.violations(cost):
            phase("measuring latency")
            with ledger.renewing():
                latency_ms = measure_latency_ms(ledger.space, candidate.arch)
        counted = _Counted(candidate, cost, latency_ms)
        violations = limits.violations(cost, latency_ms)
        if violations:
            values = counted.values(None, two_objectives)
            with ledger.lock:
                ledger.close(candidate, counted.result(ledger), values, violations)
        else:
            batch.append(counted)
    return batch


def _score_batch(
    ledger: Ledger,
    scorer: Scorer,
    proxy: Any,
    batch: Sequence[_Counted],
    workdir: Path,
    two_objectives: bool,
) -> list[float]:
    """Score candidates and record them. Returns the scores of those that have one."""
    start = time.perf_counter()
    with ledger.renewing():
        measured = scorer.measure([counted.candidate.arch for counted in batch])
    seconds = (time.perf_counter() - start) / len(batch)
    all_scores = []
    for counted, of_candidate in zip(batch, measured, strict=True):
        result = counted.result(ledger) | {"seconds": round(seconds, 4)}
        try:
            scores = score(proxy, of_candidate, result["arch"])
            result |= {"score": sum(scores) / len(scores), "scores": scores}
            all_scores.append(result["score"])
        except UserError as error:
            result["failed"] = str(error)
        values = counted.values(result["score"], two_objectives)
        with ledger.lock:
            closed_by_us = ledger.close(counted.candidate, result, values)
            if closed_by_us and result["score"] is not None:
                results.append(workdir, ScoredCandidate.from_json(result))
    return all_scores


def failures(ledger: Ledger) -> list[str]:
    """What was wrong with each architecture whose score is no number, by trial number."""
    failed = {
        result["number"]: result["failed"]
        for result in ledger.results().values()
        if "failed" in result
    }
    return [failed[number] for number in sorted(failed)]


def _check_some_score(ledger: Ledger) -> None:
    """End a search early whose score is at fault, not its candidates.

    Raises:
        UserError: when the first ones have all failed.
    """
    failed = failures(ledger)
    if len(failed) >= MOST_FAILED and not results.scored(ledger.results().values()):
        raise UserError(
            f"The first {len(failed)} candidates could all not be scored, so the search was "
            f"stopped; they are kept as failed. {failed[0]}"
        )


def _nothing_scored(failed: Sequence[str]) -> UserError:
    if failed:
        return UserError(f"None of the {len(failed)} candidates could be scored. {failed[0]}")
    return UserError(
        "All candidates broke a limit, so none was scored. Raise limits.* or search.num_candidates."
    )
