"""How a score agrees with an accuracy: rank correlations with intervals, within groups, at the top,
and what its first choice is worth.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float
from scipy import stats

RESAMPLES = 1000

Values = Float[np.ndarray, " architectures"]


def kendall_tau(score: Values, accuracy: Values) -> float:
    """Kendall's tau-b; NaN where either is constant."""
    if np.ptp(score) == 0 or np.ptp(accuracy) == 0:
        return math.nan
    return float(stats.kendalltau(score, accuracy).statistic)


def spearman_rho(score: Values, accuracy: Values) -> float:
    """Spearman's rho; NaN where either is constant."""
    if np.ptp(score) == 0 or np.ptp(accuracy) == 0:
        return math.nan
    return float(stats.spearmanr(score, accuracy).statistic)


def bootstrap_tau(score: Values, accuracy: Values, seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of Kendall's tau over resampled architectures; NaN where either is
    constant.
    """
    if np.ptp(score) == 0 or np.ptp(accuracy) == 0:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(score), size=(RESAMPLES, len(score)))
    low, high = np.nanpercentile([kendall_tau(score[i], accuracy[i]) for i in draws], [2.5, 97.5])
    return float(low), float(high)


def tau_within(score: Values, accuracy: Values, groups: Sequence[Hashable]) -> float:
    """Kendall's tau-a over the pairs of one group alone (our choice: groups pooled by pairs); NaN
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
    """Kendall's tau among the most accurate share of the architectures; NaN for fewer than
    three.
    """
    top = np.argsort(-accuracy, kind="stable")[: round(share * len(accuracy))]
    return kendall_tau(score[top], accuracy[top]) if len(top) >= 3 else math.nan


def partial_tau(
    score: Values, accuracy: Values, controls: Float[np.ndarray, "architectures controls"]
) -> float:
    """Kendall's tau of what of both is left when the controls are held fixed; NaN where nothing is
    left.

    Score and accuracy are turned into ranks, and their least-squares fit by the controls' ranks is
    taken off (our choice: a rank analogue of partial correlation that takes several controls).
    """
    ranks = np.column_stack([np.ones(len(score)), stats.rankdata(controls, axis=0)])

    def left(values: Values) -> Values:
        r = stats.rankdata(values)
        rest = r - ranks @ np.linalg.lstsq(ranks, r, rcond=None)[0]
        return np.where(np.abs(rest) > 1e-6 * len(r), rest, 0.0)

    return kendall_tau(left(score), left(accuracy))


def compare(
    score: Values,
    accuracy: Values,
    groups: Sequence[Hashable],
    controls: Float[np.ndarray, "architectures controls"],
    seed: int = 0,
) -> dict[str, object]:
    """All of these for one score and one accuracy, over the architectures that have both.

    Returns:
        `kendall_tau`, its `ci95`, `spearman_rho`, `tau_equal_width`, `tau_top_fifth`, `tau_partial`
        (controls held fixed), `num_architectures`, and of the first choice its `accuracy` and
        `rank` (1 is the most accurate). Numbers that don't exist are None.
    """
    known = np.isfinite(score) & np.isfinite(accuracy)
    s, a, g = (
        score[known],
        accuracy[known],
        [group for group, k in zip(groups, known, strict=True) if k],
    )
    if len(s) < 3:
        return {
            "kendall_tau": None,
            "ci95": [None, None],
            "spearman_rho": None,
            "num_architectures": len(s),
        }
    first = int(np.argmax(s))
    number = lambda value: None if math.isnan(value) else value
    return {
        "kendall_tau": number(kendall_tau(s, a)),
        "ci95": [number(value) for value in bootstrap_tau(s, a, seed)],
        "spearman_rho": number(spearman_rho(s, a)),
        "tau_equal_width": number(tau_within(s, a, g)),
        "tau_top_fifth": number(tau_of_top(s, a)),
        "tau_partial": number(partial_tau(s, a, controls[known])),
        "first_choice": {"accuracy": float(a[first]), "rank": int(np.sum(a > a[first])) + 1},
        "num_architectures": len(s),
    }
