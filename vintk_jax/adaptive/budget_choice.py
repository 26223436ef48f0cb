"""The setting of a policy for a budget: accuracy and cost of every setting that is tried, and the
choice among them.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from vintk_jax.adaptive import drift
from vintk_jax.adaptive.policies import Outcomes
from vintk_jax.errors import UserError
from vintk_jax.inference.plan import confidence


@dataclasses.dataclass(frozen=True)
class Point:
    """What one setting of a policy comes to.

    Attributes:
        setting: the price or threshold; start: the length that comes first.
        accuracy: share of images that are right; cost: mean, as a share of the longest length's.
        error: standard error of the accuracy's difference from the longest length's on the same
            images, in percentage points.
        mix: share of images answered at each length, cheapest first.
        lost: images that the longest length is right about and this setting isn't; -1 in records
            from before it was counted.
        confidences: how many answers were how sure (`drift.sure`); empty in records from before it
            was counted.
    """

    setting: float
    accuracy: float
    cost: float
    error: float
    mix: tuple[float, ...]
    start: int = 0
    lost: int = -1
    confidences: tuple[int, ...] = ()

    @property
    def longest(self) -> bool:
        """Whether every image goes to the longest length at once: nothing can be lost."""
        return self.start == len(self.mix) - 1 and self.mix[-1] == 1


def curve(
    outcomes_of: Callable[[float], Outcomes],
    settings: Sequence[float],
    labels: Int[np.ndarray, " n"],
    longest: Bool[np.ndarray, " n"],
    paid: Float[np.ndarray, " lengths"],
    first: int | float = 0.0,
    start: int = 0,
) -> list[Point]:
    """Accuracy against cost for each setting.

    Args:
        longest: whether the longest length is right.
        paid: for each pass at a length, with the assigner that follows it, as shares of the
            longest's.
        first: paid for every image before any pass; start: the length that comes first.
    """
    points = []
    for setting in settings:
        outcomes = outcomes_of(setting)
        mix = np.bincount(outcomes.lengths, minlength=len(paid)) / len(labels)
        right = outcomes.probabilities.argmax(axis=1) == labels
        error = 100 * (right.astype(float) - longest).std() / np.sqrt(len(labels))
        cost = first + (outcomes.passes @ paid).mean()
        points.append(
            Point(
                float(setting),
                float(right.mean()),
                float(cost),
                float(error),
                tuple(map(float, mix)),
                start,
                int(np.sum(longest & ~right)),
                tuple(drift.sure(confidence(outcomes.probabilities)).tolist()),
            )
        )
    return points


def within(
    points: Sequence[Point],
    full: float,
    max_drop: int | float,
    max_cost: int | float,
    confidence: int | float,
) -> Point:
    """The cheapest point within both limits if a drop is given, the most accurate one within the
    cost otherwise.

    A drop counts as kept when its one-sided upper limit is (normal, by `Point.error`), since the
    cheapest of many points that keep it on these images by chance wouldn't keep it on others (our
    choice).

    Args:
        full: accuracy of the longest length on the same images.
        max_drop: percentage points below it; infinite for none.
        max_cost: share of the longest length's cost.
        confidence: how sure the drop should be kept; 0.5 takes the images as they are.

    Raises:
        UserError: for an impossible budget, or one that no point is within, with what is nearest.
    """
    if not max_cost > 0 or not max_drop >= 0 or not 0.5 <= confidence < 1:
        raise UserError(
            "Expected a drop of 0 points at least, a positive cost and a confidence from 0.5 to "
            f"below 1, got budget.max_drop={max_drop}, max_cost={max_cost}, "
            f"confidence={confidence}."
        )
    affordable = [point for point in points if point.cost <= max_cost]
    limit = float(stats.norm.ppf(confidence))

    # A hair of tolerance: a drop of exactly 0.5 points is within 0.5, whatever its last bit.
    def drop(point):
        return (full - point.accuracy) * 100 + limit * point.error - 1e-9

    fitting = [point for point in affordable if drop(point) <= max_drop]
    if not fitting:
        least = min(points, key=lambda point: point.cost)
        nearest = (
            f"within the cost the drop may be {min(map(drop, affordable)):.2f} points at least"
            if affordable
            else f"the least cost is {least.cost:.3f}"
        )
        raise UserError(
            f"No setting is within budget.max_drop={max_drop} points at confidence {confidence} "
            f"and max_cost={max_cost}: {nearest}. Relax one of them."
        )
    if np.isfinite(max_drop):
        return min(fitting, key=lambda point: (point.cost, -point.accuracy))
    return max(fitting, key=lambda point: (point.accuracy, -point.cost))


def prices(
    chances: Float[np.ndarray, "n stages lengths"],
    costs: Float[np.ndarray, " lengths"],
    count: int = 200,
) -> list[float]:
    """Prices at which some image changes its length: quantiles of what a longer one gains over what
    it costs.

    Args:
        chances: at each look; the first may come before any pass.
    """
    first, second = np.triu_indices(len(costs), 1)
    gains = (chances[..., second] - chances[..., first]) / np.stack(
        [costs[second], costs[second] - costs[first]]
    )[:, None, None]
    gains = gains[gains > 0] if (gains > 0).any() else np.zeros(1)
    return [
        0.0,
        *np.unique(np.quantile(gains, np.linspace(0, 1, count))).tolist(),
        float(gains.max()) * 1.01 + 1e-6,
    ]


def thresholds(confidences: Float[np.ndarray, "n lengths"], count: int = 200) -> list[float]:
    """Thresholds between those at which nobody and everybody goes on."""
    return [0.0, *np.unique(np.quantile(confidences, np.linspace(0, 1, count))).tolist(), 1.01]
