"""How a score agrees with an accuracy: rank correlations with intervals, within groups and at the
top, and what the score's first choice is worth.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from vintk_jax.ranking.budgets import budget_gain

RESAMPLES = 1000
LEAST_RESAMPLES = 200

Values = Float[np.ndarray, " architectures"]


def kendall_tau(score: Values, accuracy: Values) -> float:
    """Kendall's tau-b. NaN where either is constant."""
    if np.ptp(score) == 0 or np.ptp(accuracy) == 0:
        return math.nan
    return float(stats.kendalltau(score, accuracy).statistic)


def spearman_rho(score: Values, accuracy: Values) -> float:
    """Spearman's rho. NaN where either is constant."""
    if np.ptp(score) == 0 or np.ptp(accuracy) == 0:
        return math.nan
    return float(stats.spearmanr(score, accuracy).statistic)


def bootstrap(
    statistic: Callable[..., float],
    scores: Float[np.ndarray, "seeds architectures"],
    *columns: Float[np.ndarray, "architectures ..."],
    seed: int = 0,
    resamples: int = 0,
) -> tuple[float, float]:
    """95% percentile interval of a statistic's mean over seeds. Architectures and seeds are
    resampled. NaN where the statistic has no value.

    Args:
        statistic: (score, *columns) -> number.
        scores: a row for each seed.
        columns: accuracies, and whatever else belongs to the architectures.
        resamples: of one seed, with several as many fewer; 0: `RESAMPLES`.
    """
    rng = np.random.default_rng(seed)
    means = []
    for _ in range(max(LEAST_RESAMPLES, (resamples or RESAMPLES) // len(scores))):
        rows = rng.integers(scores.shape[1], size=scores.shape[1])
        seeds = rng.integers(len(scores), size=len(scores)) if len(scores) > 1 else [0]
        drawn = [statistic(scores[s][rows], *(column[rows] for column in columns)) for s in seeds]
        means.append(mean_known(drawn))
    known = [value for value in means if not math.isnan(value)]
    if not known:
        return math.nan, math.nan
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def mean_known(values: Sequence[float]) -> float:
    """The mean of those that are numbers. NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def tau_within(score: Values, accuracy: Values, groups: Sequence[Hashable]) -> float:
    """Kendall's tau-a over the pairs within groups (our choice: all groups' pairs together). NaN
    where no group has a pair.
    """
    labels = np.array([hash(group) for group in groups])
    same = np.triu(labels[:, None] == labels[None, :], k=1)
    if not same.any():
        return math.nan
    agree = np.sign(score[:, None] - score[None, :]) * np.sign(
        accuracy[:, None] - accuracy[None, :]
    )
    return float(agree[same].mean())


def tau_of_top(score: Values, accuracy: Values, share: float = 0.2) -> float:
    """Kendall's tau among the most accurate share of the architectures. All that are as accurate as
    the last of them belong to it. NaN for fewer than three.
    """
    count = round(share * len(accuracy))
    if not count:
        return math.nan
    top = accuracy >= np.sort(accuracy)[-count]
    return kendall_tau(score[top], accuracy[top]) if top.sum() >= 3 else math.nan


def partial_tau(
    score: Values, accuracy: Values, controls: Float[np.ndarray, "architectures controls"]
) -> float:
    """Kendall's tau when the controls are held fixed. NaN where nothing is left then.

    Score and accuracy are turned into ranks, and their least-squares fit by the controls' ranks is
    taken off. (Our choice: a partial correlation of ranks that takes several controls.)
    """
    ranks = np.column_stack([np.ones(len(score)), stats.rankdata(controls, axis=0)])

    def left(values: Values) -> Values:
        r = stats.rankdata(values)
        rest = r - ranks @ np.linalg.lstsq(ranks, r, rcond=None)[0]
        return np.where(np.abs(rest) > 1e-6 * len(r), rest, 0.0)

    return kendall_tau(left(score), left(accuracy))


def compare(
    scores: Float[np.ndarray, "seeds architectures"],
    accuracy: Values,
    groups: Sequence[Hashable],
    controls: Float[np.ndarray, "architectures controls"],
    held_fixed: Values,
    costs: Mapping[str, Values],
    seed: int = 0,
) -> dict[str, object]:
    """All of these for one proxy and one accuracy, over the architectures that have both. Each is
    the mean over seeds.

    Args:
        scores: a row for each seed.
        groups: of architectures, for `tau_equal_width`.
        controls: what `tau_partial` holds fixed.
        held_fixed: what `partial_tau` holds fixed: the best count.
        costs: for `budget_gain`.

    Returns:
        `kendall_tau`, `tau_by_seed`, its `ci95` over rows and seeds, `spearman_rho`,
        `tau_equal_width`, `tau_top_fifth`, `tau_partial`, `partial_tau` and its `partial_ci95`,
        `budget_gain` (see `budgets`), `num_architectures`, and of the first seed's first choice its
        `accuracy` and `rank` (1 is the most accurate), the mean of as many `equals` as share the
        highest score. Numbers that don't exist are None.
    """
    known = np.isfinite(scores).all(axis=0) & np.isfinite(accuracy)
    num_architectures = int(known.sum())
    if num_architectures < 3:
        return {
            "kendall_tau": None,
            "tau_by_seed": [None] * len(scores),
            "ci95": [None, None],
            "spearman_rho": None,
            "num_architectures": num_architectures,
        }
    scores = scores[:, known]
    accuracy = accuracy[known]
    groups = [group for group, is_known in zip(groups, known, strict=True) if is_known]
    fixed = held_fixed[known][:, None]
    costs = {name: cost[known] for name, cost in costs.items()}

    def over_seeds(statistic: Callable[..., float], *columns: Any) -> float | None:
        return _number(mean_known([statistic(score, accuracy, *columns) for score in scores]))

    tau_interval = bootstrap(kendall_tau, scores, accuracy, seed=seed)
    partial_interval = bootstrap(
        partial_tau, scores, accuracy, fixed, seed=seed, resamples=LEAST_RESAMPLES
    )
    return {
        "kendall_tau": over_seeds(kendall_tau),
        "tau_by_seed": [_number(kendall_tau(score, accuracy)) for score in scores],
        "ci95": [_number(value) for value in tau_interval],
        "spearman_rho": over_seeds(spearman_rho),
        "tau_equal_width": over_seeds(tau_within, groups),
        "tau_top_fifth": over_seeds(tau_of_top),
        "tau_partial": over_seeds(partial_tau, controls[known]),
        "partial_tau": over_seeds(partial_tau, fixed),
        "partial_ci95": [_number(value) for value in partial_interval],
        "budget_gain": budget_gain(scores, accuracy, costs, seed),
        "first_choice": _first_choice(scores[0], accuracy),
        "num_architectures": num_architectures,
    }


def _first_choice(score: Values, accuracy: Values) -> dict[str, float | int]:
    """What the architecture of the highest score is worth. Where several have that score it is
    their mean.
    """
    highest = score == score.max()
    reached = accuracy[highest].mean()
    return {
        "accuracy": float(reached),
        "rank": int(np.sum(accuracy > reached)) + 1,
        "equals": int(highest.sum()),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
