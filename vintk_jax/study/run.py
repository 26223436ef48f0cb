"""The loop of a search: take candidates, score them, record them, until all trials are finished."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vintk_jax.errors import UserError
from vintk_jax.proxies.scorer import Scorer, score
from vintk_jax.spaces import SearchSpace
from vintk_jax.study import results
from vintk_jax.study.ledger import Candidate, Ledger, wait_for_others
from vintk_jax.study.limits import Limits, measure_latency_ms

MOST_FAILED = 20  # candidates, all of them so far, that a search goes on after


def _unscored(
    ledger: Ledger,
    candidate: Candidate,
    cost,
    latency_ms: float | None,
    limits: Limits,
    several: bool,
) -> bool:
    """Close a candidate that breaks a limit, without a score; False when it breaks none."""
    violations = limits.violations(cost, latency_ms)
    if violations:
        arch = ledger.space.to_json(candidate.arch)
        result = {
            "number": candidate.number,
            "arch": arch,
            "score": None,
            "params": cost.params,
            "flops": cost.flops,
            "latency_ms": latency_ms,
        }
        ledger.close(
            candidate, result, [float("-inf"), float(cost.flops)][: 2 if several else 1], violations
        )
    return bool(violations)


def failures(ledger: Ledger) -> list[str]:
    """What was wrong with each architecture whose score is no number, by trial number."""
    failed = [result for result in ledger.results().values() if "failed" in result]
    return [result["failed"] for result in sorted(failed, key=lambda result: result["number"])]


def _check_some_score(ledger: Ledger) -> None:
    """End a search early whose score is at fault, not its candidates.

    Raises:
        UserError: when the first ones have all failed.
    """
    known = ledger.results().values()
    failed = failures(ledger)
    if len(failed) >= MOST_FAILED and not any(r.get("score") is not None for r in known):
        raise UserError(
            f"The first {len(failed)} candidates could all not be scored, so the search was "
            f"stopped; they are kept as failed. {failed[0]}"
        )


def run(
    ledger: Ledger,
    scorer: Scorer,
    proxy: Any,
    limits: Limits,
    workdir: Path,
    *,
    several: bool,
    report: Callable[[int, float | None], None],
    phase: Callable[[str], None],
) -> list[dict]:
    """Score until all trials are finished; returns the scored candidates by trial number.

    Args:
        several: whether multiply-adds are a second objective.
        report: called with (finished trials, best score so far).
        phase: called with what is going on.

    Raises:
        UserError: when nothing could be scored at all. A candidate whose kernel or score is no
            number is kept as failed, and the search goes on.
    """
    space: SearchSpace = ledger.space
    with ledger.lock:
        results.rewrite(workdir, results.scored(list(ledger.results().values())))
    best: float | None = max(
        (r["score"] for r in ledger.results().values() if r.get("score") is not None), default=None
    )
    report(len(ledger.finished()), best)
    compiled = False
    while not ledger.done():
        batch = []
        most = scorer.batch_size if compiled else scorer.first_batch_size
        for candidate in ledger.take(most):
            cost = space.cost(candidate.arch)
            measured = limits.max_latency_ms and not limits.violations(cost)
            if measured:
                phase("measuring latency")
            latency_ms = None
            if measured:
                with ledger.renewing():
                    latency_ms = measure_latency_ms(space, candidate.arch)
            with ledger.lock:
                if not _unscored(ledger, candidate, cost, latency_ms, limits, several):
                    batch.append((candidate, cost, latency_ms))
        if not batch:
            if not ledger.has_work():
                phase(ledger.waiting_for())
                wait_for_others()
            report(len(ledger.finished()), best)
            continue
        if not compiled:
            phase("compiling")
            with ledger.renewing():
                scorer.compile()
            compiled = True
        phase("scoring")
        start = time.perf_counter()
        with ledger.renewing():
            measured = scorer.measure([candidate.arch for candidate, _, _ in batch])
        seconds = (time.perf_counter() - start) / len(batch)
        for (candidate, cost, latency_ms), of_candidate in zip(batch, measured, strict=True):
            result = {
                "number": candidate.number,
                "arch": space.to_json(candidate.arch),
                "score": None,
                "params": cost.params,
                "flops": cost.flops,
                "latency_ms": latency_ms,
                "seconds": round(seconds, 4),
            }
            try:
                scores = score(proxy, of_candidate, result["arch"])
                result |= {"score": sum(scores) / len(scores), "scores": scores}
            except UserError as error:
                result["failed"] = str(error)
            value = float("-inf") if result["score"] is None else result["score"]
            with ledger.lock:
                kept = ledger.close(
                    candidate, result, [value, float(cost.flops)][: 2 if several else 1]
                )
                if kept and result["score"] is not None:
                    results.append(workdir, result)
            if result["score"] is not None:
                best = value if best is None else max(best, value)
        _check_some_score(ledger)
        report(len(ledger.finished()), best)
    candidates = results.scored(list(ledger.results().values()))
    if not candidates and (failed := failures(ledger)):
        raise UserError(f"None of the {len(failed)} candidates could be scored. {failed[0]}")
    if not candidates:
        raise UserError(
            "All candidates broke a limit, so none was scored. Raise limits.* or "
            "search.num_candidates."
        )
    with ledger.lock:
        results.rewrite(workdir, candidates)
    return candidates
