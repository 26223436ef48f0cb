"""What a run's test images say: accuracies with intervals, by length and by class; which images are
hard.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats


def interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share."""
    found = stats.binomtest(right, count).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def points_interval(
    longest: Bool[np.ndarray, " n"], adaptive: Bool[np.ndarray, " n"]
) -> tuple[float, float]:
    """The 95% interval of the points gained over the longest length on the same images (normal)."""
    gained = 100 * (adaptive.astype(float) - longest)
    half = stats.norm.ppf(0.975) * gained.std() / np.sqrt(len(gained))
    return float(gained.mean() - half), float(gained.mean() + half)


def by_length(
    names: Sequence[str], right: Bool[np.ndarray, "n lengths"], multiply_adds: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Accuracy with its interval, and cost, of each length, longest first."""
    rows = []
    for number in reversed(range(len(names))):
        count = int(right[:, number].sum())
        low, high = interval(count, len(right))
        rows.append(
            {
                "tokens": names[number],
                "accuracy": count / len(right),
                "low": low,
                "high": high,
                "multiply_adds": int(multiply_adds[names[number]]),
            }
        )
    return rows


def by_class(
    classes: Sequence[str],
    labels: Int[np.ndarray, " n"],
    longest: Bool[np.ndarray, " n"],
    adaptive: Bool[np.ndarray, " n"],
) -> list[dict[str, Any]]:
    """What adapting does to each class, those first that lose most.

    Args:
        longest, adaptive: whether the longest length is right, and the one that each image was
            given.
    """
    rows = []
    for number, name in enumerate(classes):
        mine = labels == number
        count = int(mine.sum())
        if not count:
            continue
        low, high = interval(int(adaptive[mine].sum()), count)
        rows.append(
            {
                "name": name,
                "images": count,
                "longest": float(longest[mine].mean()),
                "adaptive": float(adaptive[mine].mean()),
                "low": low,
                "high": high,
                "lost": int((mine & longest & ~adaptive).sum()),
                "gained": int((mine & ~longest & adaptive).sum()),
            }
        )
    return sorted(rows, key=lambda row: (row["adaptive"] - row["longest"], row["adaptive"]))


def galleries(
    right: Bool[np.ndarray, "n lengths"], sureness: Float[np.ndarray, " n"], most: int
) -> dict[str, list[int]]:
    """Numbers of images that are easy (the shortest length is right, the surest first), that need
    more tokens (only the longest is right), and that no length is right about.

    Args:
        sureness: the shortest length's highest probability.
        most: images of each kind.
    """
    easy = np.flatnonzero(right.all(axis=1))
    easy = easy[np.argsort(-sureness[easy], kind="stable")]
    needy = np.flatnonzero(right[:, -1] & ~right[:, :-1].any(axis=1))
    needy = needy[np.argsort(-sureness[needy], kind="stable")]
    hard = np.flatnonzero(~right.any(axis=1))
    hard = hard[np.argsort(-sureness[hard], kind="stable")]
    return {
        name: numbers[:most].tolist()
        for name, numbers in (("easy", easy), ("needy", needy), ("hard", hard))
    }
