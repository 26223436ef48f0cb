"""What can be promised of a setting for new images, and the cheapest setting that a promise holds
for.

The limit. On its calibration images a setting loses those that the longest length gets right and it
doesn't. Among all images that are like these, the share of lost ones is at most the exact (Clopper
and Pearson) limit of their number. The loss of accuracy is at most that share: what the setting
wins elsewhere is not counted on.

The order. The cheapest of many settings that look good is chosen for its luck. So settings are
gone through in an order that was fixed without the labels, from the dearest on, each at full
confidence. The first that fails ends it (fixed-sequence testing: Maurer, Hothorn and Lehmacher
1995; Angelopoulos et al. 2021, arXiv 2110.01052).

Several first lengths have a sequence each. These share what may go wrong.
"""

import functools
import math
from collections.abc import Sequence

from scipy import stats

from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.errors import UserError


@functools.lru_cache(maxsize=10_000)
def most_lost(lost: int, images: int, confidence: int | float) -> float:
    """The exact upper limit, in percentage points, of the share of images that are lost.

    Args:
        lost: of the calibration images.
        images: how many these are.
        confidence: of the one-sided limit.

    Raises:
        UserError: for a number of lost images below 0, which is none, and a confidence that is no
            probability.
    """
    _check_confidence(confidence)
    if lost < 0:
        raise UserError(
            f"Expected the number of lost images, 0 or more, got {lost}: it wasn't counted. Run "
            "`python -m vintk_jax.assign` on this workdir."
        )
    if lost >= images:
        return 100.0
    return 100 * float(stats.beta.ppf(confidence, lost + 1, images - lost))


def images_needed(max_drop: int | float, confidence: int | float) -> int:
    """How many calibration images, none of them lost, it takes to promise a drop; -1 where no
    number is enough.

    Raises:
        UserError: for a drop that is NaN, and a confidence that is no probability.
    """
    _check_drop(max_drop)
    _check_confidence(confidence)
    if max_drop >= 100:
        return 1
    kept = math.log1p(-max_drop / 100) if max_drop > 0 else 0.0
    if not kept or confidence == 1:
        return -1
    needed = math.log1p(-confidence) / kept
    return math.ceil(needed) if math.isfinite(needed) else -1


def sequences(points: Sequence[Point]) -> list[list[Point]]:
    """Points by the length that comes first, each from the dearest to the cheapest; costs know
    nothing of the labels. Those that lose nothing by construction, the longest length alone, are
    left out.
    """
    by_start: dict[int, list[Point]] = {}
    for point in points:
        if not point.longest:
            by_start.setdefault(point.start, []).append(point)
    return [sorted(own, key=lambda point: -point.cost) for own in by_start.values()]


def promised(
    points: Sequence[Point], images: int, max_drop: int | float, confidence: int | float
) -> list[Point]:
    """The points whose loss on new images is at most `max_drop` percentage points, all of them
    together with the confidence; the longest length is always among them.

    Args:
        points: of one method.
        images: that they were measured on.

    Raises:
        UserError: for a drop that is NaN, a confidence that is no probability, and points whose
            lost images weren't counted.
    """
    _check_drop(max_drop)
    _check_confidence(confidence)
    found = [point for point in points if point.longest]
    every = sequences(points)
    for sequence in every:
        of_each = 1 - (1 - confidence) / len(every)
        for point in sequence:
            if most_lost(point.lost, images, of_each) > max_drop:
                break
            found.append(point)
    return found


def _check_drop(max_drop: int | float) -> None:
    if math.isnan(max_drop):
        raise UserError("Expected a drop in percentage points, got NaN. Set budget.max_drop.")


def _check_confidence(confidence: int | float) -> None:
    if not 0 < confidence <= 1:  # also for NaN
        raise UserError(
            f"Expected a confidence above 0, at most 1, got {confidence}. Set budget.confidence."
        )
