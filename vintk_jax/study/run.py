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
        UserError: when a kernel or score isn't finite, or nothing could be scored at all.
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
            latency_ms = measure_latency_ms(space, candidate.arch) if measured else None
            with ledger.lock:
                if not _unscored(ledger, candidate, cost, latency_ms, limits, several):
                    batch.append((candidate, cost, latency_ms))
        if not batch:
            if not ledger.has_work():
                phase("waiting for other processes")
                wait_for_others()
            report(len(ledger.finished()), best)
            continue
        if not compiled:
            phase("compiling")
            scorer.compile()
            compiled = True
        phase("scoring")
        start = time.perf_counter()
        measured = scorer.measure([candidate.arch for candidate, _, _ in batch])
        seconds = (time.perf_counter() - start) / len(batch)
        for (candidate, cost, latency_ms), of_candidate in zip(batch, measured, strict=True):
            arch = space.to_json(candidate.arch)
            scores = score(proxy, of_candidate, arch)
            mean = sum(scores) / len(scores)
            result = {
                "number": candidate.number,
                "arch": arch,
                "score": mean,
                "scores": scores,
                "params": cost.params,
                "flops": cost.flops,
            }
            result |= {"latency_ms": latency_ms, "seconds": round(seconds, 4)}
            with ledger.lock:
                ledger.close(candidate, result, [mean, float(cost.flops)][: 2 if several else 1])
                results.append(workdir, result)
            best = mean if best is None else max(best, mean)
        report(len(ledger.finished()), best)
    candidates = results.scored(list(ledger.results().values()))
    if not candidates:
        raise UserError(
            "All candidates broke a limit, so none was scored. Raise limits.* or "
            "search.num_candidates."
        )
    with ledger.lock:
        results.rewrite(workdir, candidates)
    return candidates
