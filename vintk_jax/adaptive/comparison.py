"""Every way to spend tokens, on the same images through the same engine: accuracy against images a second."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt8

from vintk_jax.adaptive.calibration import Calibration
from vintk_jax.adaptive.engine import Engine, Plan
from vintk_jax.adaptive.plans import Assigner, Plans
from vintk_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Method:
    """One line of the comparison.

    Attributes:
        name: fixed-N, random, cascade, tome, tla or oracle; budget: points that it may lose, None where it has no such setting.
        plan: what it does.
        flops: of one image that ends at each length, cheapest first (multiply-adds).
    """

    name: str
    budget: float | None
    plan: Plan
    flops: tuple[float, ...]


def methods(
    plans: Plans, assigner: Assigner, calibration: Calibration, right: Bool[np.ndarray, "n lengths"], budgets: Sequence[float], seed: int
) -> list[Method]:
    """All that can be compared on labelled images.

    Args:
        right: of the images that will be compared on: for the oracle.
        budgets: percentage points; the first one's mix is also drawn at random.
    """
    costs = np.array(list(plans.multiply_adds.values()), float)
    of_assigner = plans.assigner_multiply_adds(assigner)
    found = [Method(f"fixed-{name}", None, plans.fixed(name), tuple(costs)) for name in reversed(plans.names)]
    assigned, cascades = [], []
    for budget in budgets:
        point = calibration.choose("assigned", budget)
        plan = plans.assigned(dataclasses.replace(assigner, price=point.setting))
        shared = costs[0] * (np.arange(len(costs)) > 0) if len(plan.steps) == len(costs) else 0.0
        assigned.append(Method("tla", budget, plan, tuple(costs + of_assigner + shared)))
        cascades.append(Method("cascade", budget, plans.cascade(calibration.choose("cascade", budget).setting), tuple(np.cumsum(costs))))
    mix = calibration.choose("assigned", budgets[0]).mix
    drawn = np.random.default_rng(seed).choice(len(costs), len(right), p=np.array(mix) / np.sum(mix))
    found += assigned + cascades
    found.append(Method("random", budgets[0], plans.known(drawn), tuple(costs)))
    found.append(Method("oracle", None, plans.known(np.where(right.any(axis=1), right.argmax(axis=1), 0)), tuple(costs)))
    return found + _merging(plans)


def _merging(plans: Plans, settings: int = 4) -> list[Method]:
    """Token merging on the longest length, at a few numbers a block; none for a model that can't."""
    tokens = int(plans.names[-1]) if plans.names[-1].isdigit() else 0
    counts = sorted({max(round(tokens * share), 1) for share in np.linspace(0.06, 0.4, settings)})
    try:
        merged = [plans.merged(count) for count in counts]
    except UserError:
        return []
    return [Method("tome", None, plan, (cost,) * len(plans.names)) for plan, cost in merged]


def compare(
    compared: Sequence[Method],
    images: Sequence[UInt8[np.ndarray, "size size 3"]],
    labels: Int[np.ndarray, " n"],
    names: Sequence[str],
    engine_of: Callable[[Plan], Engine],
    rounds: int,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Run every method `rounds` times over the images, in turn; medians of the times.

    The clock counts all from images in memory to answers in order: assigning, waiting for a full batch, transfers, both ways.

    Returns:
        Entries of adaptive.json's "methods".
    """
    engines = [engine_of(method.plan) for method in compared]
    for engine in engines:
        engine.warm_up()
    seconds: list[list[float]] = [[] for _ in compared]
    answers: list[Any] = [None] * len(compared)
    for done in range(rounds * len(compared)):
        which = done % len(compared)
        start = time.perf_counter()
        answers[which] = list(engines[which](images))
        seconds[which].append(time.perf_counter() - start)
        advance(done + 1)
    return [_entry(*row, labels, names) for row in zip(compared, answers, seconds, strict=True)]


def _entry(method: Method, answers: Sequence[Any], seconds: Sequence[float], labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    at = np.array([names.index(answer.length) for answer in answers])
    mix: Mapping[str, float] = dict(zip(names, (np.bincount(at, minlength=len(names)) / len(at)).round(6).tolist(), strict=True))
    predicted = np.array([answer.probabilities.argmax() for answer in answers])
    return {
        "name": method.name,
        "budget": method.budget,
        "accuracy": float((predicted == labels).mean()),
        "images_per_second": round(len(answers) / statistics.median(seconds), 1),
        "flops_per_image": float(np.array(method.flops)[at].mean()),
        "mix": {name: share for name, share in mix.items() if share},
    }
