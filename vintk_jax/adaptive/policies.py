"""From what a model knows of an image to a length, by one number that trades tokens for accuracy; and that number for a budget."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from vintk_jax.errors import UserError

Lengths = Int[np.ndarray, " n"]


PATHS = ("alone", "shortest", "each")  # what has been run ahead of the length that answers: nothing, the shortest, every shorter one


def by_price(chances: Float[np.ndarray, "n lengths"], costs: Float[np.ndarray, " lengths"], price: int | float) -> Lengths:
    """The length with the best chance less its price: chance of being right, minus price times cost.

    What a right answer is worth in costs is the same for all images, which makes this the best choice for a mean accuracy at a mean cost,
    if the chances are true (our choice; the paper takes the likeliest label).

    Args:
        chances: an assigner's, of being right at each length, cheapest first.
        costs: of running each length, as shares of the longest's.
    """
    return np.argmax(chances - price * costs, axis=1)


def by_confidence(confidence: Float[np.ndarray, "n lengths"], threshold: int | float) -> Lengths:
    """The first length whose highest probability reaches a threshold, else the longest: a cascade (DVT, arXiv 2105.15075)."""
    sure = confidence[:, :-1] >= threshold
    return np.where(sure.any(axis=1), sure.argmax(axis=1), confidence.shape[1] - 1)


@dataclasses.dataclass(frozen=True)
class Point:
    """What one setting of a policy comes to.

    Attributes:
        setting: the price or threshold.
        accuracy: share of images that are right; cost: mean, as a share of the longest length's.
        mix: share of images at each length, cheapest first.
    """

    setting: float
    accuracy: float
    cost: float
    mix: tuple[float, ...]


def curve(
    policy: Callable[[float], Lengths], settings: Sequence[float], right: Bool[np.ndarray, "n lengths"], paid: Float[np.ndarray, " lengths"]
) -> list[Point]:
    """Accuracy against cost for each setting.

    Args:
        paid: all that it costs to answer at a length, the assigner or the steps before it included, as shares of the longest's.
    """
    points = []
    for setting in settings:
        lengths = policy(setting)
        mix = np.bincount(lengths, minlength=len(paid)) / len(lengths)
        accuracy = right[np.arange(len(lengths)), lengths].mean()
        points.append(Point(float(setting), float(accuracy), float(mix @ paid), tuple(map(float, mix))))
    return points


def within(points: Sequence[Point], full: float, max_drop: int | float, max_cost: int | float) -> Point:
    """The cheapest point within both limits if a drop is given, the most accurate one within the cost otherwise.

    Args:
        full: accuracy of the longest length on the same images.
        max_drop: percentage points below it; infinite for none.
        max_cost: share of the longest length's cost.

    Raises:
        UserError: for an impossible budget, or one that no point is within, with what is nearest.
    """
    if not max_cost > 0 or not max_drop >= 0:
        raise UserError(
            f"budget.max_drop={max_drop} and max_cost={max_cost} came; a drop of 0 points at least and a positive cost were wanted."
        )
    affordable = [point for point in points if point.cost <= max_cost]
    # A hair of tolerance: a drop of exactly 0.5 points is within 0.5, whatever its last bit.
    fitting = [point for point in affordable if (full - point.accuracy) * 100 <= max_drop + 1e-9]
    if not fitting:
        least = min(points, key=lambda point: point.cost)
        best = max(affordable, key=lambda point: point.accuracy, default=None)
        nearest = (
            f"within the cost the drop is {(full - best.accuracy) * 100:.2f} points at least"
            if best
            else f"the least cost is {least.cost:.3f}"
        )
        raise UserError(f"No setting is within budget.max_drop={max_drop} points and max_cost={max_cost}: {nearest}. Relax one of them.")
    if np.isfinite(max_drop):
        return min(fitting, key=lambda point: (point.cost, -point.accuracy))
    return max(fitting, key=lambda point: (point.accuracy, -point.cost))


def prices(chances: Float[np.ndarray, "n lengths"], costs: Float[np.ndarray, " lengths"], count: int = 200) -> list[float]:
    """Prices at which some image changes its length: quantiles of what a step up in length gains over what it costs."""
    first, second = np.triu_indices(len(costs), 1)
    gains = (chances[:, second] - chances[:, first]) / (costs[second] - costs[first])
    gains = gains[gains > 0] if (gains > 0).any() else np.zeros(1)
    return [0.0, *np.unique(np.quantile(gains, np.linspace(0, 1, count))).tolist(), float(gains.max()) * 1.01 + 1e-6]


def thresholds(confidence: Float[np.ndarray, "n lengths"], count: int = 200) -> list[float]:
    """Thresholds between those at which nobody and everybody goes on."""
    return [0.0, *np.unique(np.quantile(confidence, np.linspace(0, 1, count))).tolist(), 1.01]


def paid_costs(alone: Mapping[str, int | float], first: int | float, path: str) -> Float[np.ndarray, " lengths"]:
    """What answering at each length costs in all, in the unit of `alone`.

    Args:
        alone: of each length by itself, cheapest first.
        first: of the assigner, without the pass that it shares.
        path: one of `PATHS`.
    """
    costs = np.array(list(alone.values()), float)
    before = {"alone": np.zeros_like(costs), "shortest": costs[0] * (np.arange(len(costs)) > 0), "each": np.cumsum(costs) - costs}
    return first + before[path] + costs


def blend(probabilities: Float[np.ndarray, "n lengths classes"], path: str, keep: int | float) -> Float[np.ndarray, "n lengths classes"]:
    """The answers at each length when what was run before has its say: `keep` times what was known plus the rest of this length's own.

    The passes before are paid for anyway, and two lengths err differently (our choice).
    """
    if path == "alone":
        return probabilities
    blended = [probabilities[:, 0]]
    for i in range(1, probabilities.shape[1]):
        blended.append(keep * blended[-1 if path == "each" else 0] + (1 - keep) * probabilities[:, i])
    return np.stack(blended, axis=1)
