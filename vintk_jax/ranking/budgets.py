"""Does a score pay under a budget? Among architectures of about the same cost, a choice could gain
so much accuracy. How much of it does the score's choice gain?

This measure is our choice. A rank correlation also counts pairs that nobody would choose between,
such as a small model and a large one.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

NEAREST = 10  # architectures that are chosen among: those just below the budget, or more if equal
FEWEST = 5  # a budget with fewer below it is left out
RESAMPLES = 200

Values = Float[np.ndarray, " architectures"]


class Choice(NamedTuple):
    """What a score chooses under one budget.

    Attributes:
        budget: the most that an architecture may cost.
        among: how many architectures were chosen among: `NEAREST`, fewer where fewer are below the
            budget, more where several cost as much as the last of them.
        chosen: accuracy of the one with the highest score; of equal scores the mean.
        mean, best: accuracies of all of them.
    """

    budget: float
    among: int
    chosen: float
    mean: float
    best: float


def choices(score: Values, accuracy: Values, cost: Values) -> tuple[list[Choice], int]:
    """The choices at budgets that are the deciles of the costs, and how many budgets were left out.

    A choice is among the `NEAREST` dearest architectures within a budget, and all that cost as much
    as the last of them. (The order of equal costs in the table says nothing.)
    """
    made = []
    budgets = np.quantile(cost, np.arange(1, 11) / 10)
    for budget in budgets:
        below = cost <= budget
        if below.sum() < FEWEST:
            continue
        least = np.sort(cost[below])[-NEAREST:][0]
        nearest = np.flatnonzero(below & (cost >= least))
        highest = nearest[score[nearest] == score[nearest].max()]
        accuracies = accuracy[nearest]
        made.append(
            Choice(
                float(budget),
                len(nearest),
                chosen=_mean(accuracy[highest]),
                mean=_mean(accuracies),
                best=float(accuracies.max()),
            )
        )
    return made, len(budgets) - len(made)


def gain(made: list[Choice]) -> float:
    """What choices gained over the mean, as a share of what they could gain.

    0 for choices at random, 1 for the best ones, NaN where there is nothing to gain. The sums go
    over budgets, so budgets with more to gain count more.
    """
    possible = sum(choice.best - choice.mean for choice in made)
    if not possible:
        return math.nan
    return sum(choice.chosen - choice.mean for choice in made) / possible


def budget_gain(
    scores: Float[np.ndarray, "seeds architectures"],
    accuracy: Values,
    costs: Mapping[str, Values],
    seed: int = 0,
) -> dict[str, Any]:
    """The gain under budgets of each cost: its mean over seeds, with a percentile interval. The
    interval is over resampled architectures (each at most once) and seeds.

    Returns:
        By name of the cost {"gain", "ci95", "left_out", "budgets": a `Choice` each, of the first
        seed}. None where a number doesn't exist.
    """
    result = {}
    for name, cost in costs.items():
        rng = np.random.default_rng(seed)
        mean = _mean_gain(scores, accuracy, cost)
        drawn = []
        for _ in range(RESAMPLES):
            rows = np.unique(rng.integers(len(accuracy), size=len(accuracy)))
            seeds = rng.integers(len(scores), size=len(scores))
            drawn.append(_mean_gain(scores[seeds][:, rows], accuracy[rows], cost[rows]))
        known = [value for value in drawn if not math.isnan(value)]
        interval = np.percentile(known, [2.5, 97.5]).tolist() if known else [None, None]
        shown, left_out = choices(scores[0], accuracy, cost)
        result[name] = {
            "gain": None if math.isnan(mean) else mean,
            "ci95": interval,
            "left_out": left_out,
            "budgets": [choice._asdict() for choice in shown],
        }
    return result


def _mean(values: Values) -> float:
    """The mean, to the last bit the same in any order."""
    return math.fsum(values) / len(values)


def _mean_gain(scores, accuracy: Values, cost: Values) -> float:
    gains = [gain(choices(score, accuracy, cost)[0]) for score in scores]
    known = [value for value in gains if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
