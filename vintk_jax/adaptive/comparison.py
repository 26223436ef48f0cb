"""Methods compared: run in turn on the same images through the same engine, accuracy against images
a second.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from vintk_jax.adaptive.compared_methods import Method
from vintk_jax.inference.engine import Block, Engine


def compare(
    compared: Sequence[Method],
    engines: Sequence[Engine],
    images: UInt8[np.ndarray, "n *image 3"],
    labels: Int[np.ndarray, " n"],
    names: Sequence[str],
    rounds: int,
    advance: Callable[[int], None],
) -> list[dict[str, Any]]:
    """Run every method `rounds` times over the images, in turn; medians of the times. Methods of
    one plan are run once: two times of the same work would say that one is faster. A looser budget
    has the run of a tighter one that was faster.

    The clock counts all from images in memory to answers in order: assigning, grouping, transfers,
    both ways.

    Args:
        engines: of the methods' plans, warmed up.
        names: of the lengths, cheapest first.

    Returns:
        Entries of adaptive.json's "methods".
    """
    seconds: list[list[float]] = [[] for _ in compared]
    answers: list[Any] = [None] * len(compared)
    plans = [id(method.plan) for method in compared]
    first_of = [plans.index(plan) for plan in plans]
    for done in range(rounds * len(compared)):
        which = done % len(compared)
        if first_of[which] != which:
            advance(done + 1)
            continue
        start = time.perf_counter()
        answers[which] = engines[which].all(images)
        seconds[which].append(time.perf_counter() - start)
        advance(done + 1)
    first_of = _never_slower(compared, first_of, seconds)
    return [
        _entry(method, compared[first], answers[first], seconds[first], labels, names)
        for method, first in zip(compared, first_of, strict=True)
    ]


def _never_slower(
    compared: Sequence[Method], runs: Sequence[int], seconds: Sequence[Sequence[float]]
) -> list[int]:
    """The run of each method, or that of the same method at a tighter budget where it was faster:
    what is within a tighter budget is within a looser one. The first of a name has the command's
    own budget and keeps its run, which predictions are of; so has one that only costs limit.

    Args:
        runs: the number of the method whose run each has.
    """
    chosen = list(runs)
    fastest: dict[str, int] = {}
    names = [method.name for method in compared]

    def budget(i: int) -> float:
        limit = compared[i].budget
        return np.inf if limit is None else limit

    limited = [i for i in range(len(compared)) if np.isfinite(budget(i))]
    for i in sorted(limited, key=budget):
        before = fastest.get(names[i], chosen[i])
        is_first = names.index(names[i]) == i
        slower = statistics.median(seconds[before]) < statistics.median(seconds[chosen[i]])
        if slower and not is_first:
            chosen[i] = before
        if not slower:
            before = chosen[i]
        fastest[names[i]] = before
    return chosen


def _entry(
    method: Method,
    ran: Method,
    answers: Block,
    seconds: Sequence[float],
    labels: np.ndarray,
    names: Sequence[str],
) -> dict[str, Any]:
    at = np.array([names.index(step.name) if step.name else -1 for step in ran.plan.steps])[
        answers.steps
    ]
    mix = dict(
        zip(names, (np.bincount(at, minlength=len(names)) / len(at)).round(6).tolist(), strict=True)
    )
    return {
        "name": method.name,
        "budget": method.budget
        if method.budget is not None and np.isfinite(method.budget)
        else None,
        "accuracy": float((answers.probabilities.argmax(axis=1) == labels).mean()),
        "images_per_second": round(len(at) / statistics.median(seconds), 1),
        "flops_per_image": float(answers.passes @ np.array(ran.flops, float) / len(at)),
        "mix": {name: share for name, share in mix.items() if share},
    }


def points_of(entries: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Seconds an image and accuracy of a method's entries, fastest first; "fixed" for all fixed
    lengths.
    """
    mine = sorted(
        (1 / e["images_per_second"], e["accuracy"])
        for e in entries
        if e["name"].split("-")[0] == name
    )
    return np.array([t for t, _ in mine]), np.array([a for _, a in mine])


def reached_at(seconds: float, times: np.ndarray, accuracies: np.ndarray) -> float | None:
    """The accuracy of the best mixture of settings that takes so long an image: the upper hull of
    its points; None outside of them.
    """
    reached = [a for t, a in zip(times, accuracies) if t <= seconds]
    for i, j in itertools.combinations(range(len(times)), 2):
        if times[i] <= seconds <= times[j] and times[i] < times[j]:
            share = (seconds - times[i]) / (times[j] - times[i])
            reached.append((1 - share) * accuracies[i] + share * accuracies[j])
    return float(max(reached)) if reached else None


def at_equal_speed(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each budget of the assigner, the accuracy of other methods in the same time.

    "random" is the best random mixture of fixed lengths, without an assigner's cost; a method's
    accuracy is None where its fastest setting is slower.
    """
    longest = next(entry for entry in entries if entry["name"].startswith("fixed-"))
    others = {
        "random": points_of(entries, "fixed"),
        "cascade": points_of(entries, "cascade"),
        "tome": points_of(entries, "tome"),
        "evit": points_of(entries, "evit"),
    }
    return [
        {
            "budget": entry["budget"],
            "speed": entry["images_per_second"] / longest["images_per_second"],
            "gain": (entry["accuracy"] - longest["accuracy"]) * 100,
            "tla": entry["accuracy"],
            **{
                name: reached_at(1 / entry["images_per_second"], *points)
                for name, points in others.items()
            },
        }
        for entry in entries
        if entry["name"] == "tla"
    ]


def captured(entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The share of the oracle's saving that the assigner has at its first budget: of time, and of
    multiply-adds.
    """
    longest = next(entry for entry in entries if entry["name"].startswith("fixed-"))
    tla, oracle = (
        next(entry for entry in entries if entry["name"] == name) for name in ("tla", "oracle")
    )

    def share(cost):
        return (cost(longest) - cost(tla)) / (cost(longest) - cost(oracle))

    return {
        "time": share(lambda e: 1 / e["images_per_second"]),
        "multiply_adds": share(lambda e: e["flops_per_image"]),
    }
