"""What can be promised of a setting for new images, and the cheapest setting that a promise holds
for.

On its calibration images a setting loses those that the longest length gets right and it doesn't.
The share of such images among all that are like these is at most the exact (Clopper and Pearson)
limit of their number, and the loss of accuracy is at most that share: what it wins elsewhere is not
counted on. Among many settings the cheapest that looks good is chosen for its luck; so they are
gone through in an order that was fixed without the labels, from the dearest on, each at full
confidence, and the first that fails ends it (fixed-sequence testing: Maurer, Hothorn and Lehmacher
1995; Angelopoulos et al. 2021, arXiv 2110.01052). Sequences from different first lengths share what
may go wrong.
"""

import functools
import math
from collections.abc import Sequence

from scipy import stats

from vintk_jax.adaptive.policies import Point


@functools.lru_cache(maxsize=10_000)
def most_lost(lost: int, images: int, confidence: float) -> float:
    """The exact upper limit, in percentage points, of the share of images that are lost.

    Args:
        lost: of the calibration images.
        images: how many these are.
        confidence: of the one-sided limit.
    """
    if lost >= images:
        return 100.0
    return 100 * float(stats.beta.ppf(confidence, lost + 1, images - lost))


def images_needed(max_drop: float, confidence: float) -> int:
    """How many calibration images, none of them lost, it takes to promise a drop."""
    if max_drop >= 100:
        return 1
    if max_drop <= 0:
        return -1
    return math.ceil(math.log(1 - confidence) / math.log(1 - max_drop / 100))


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
    points: Sequence[Point], images: int, max_drop: float, confidence: float
) -> list[Point]:
    """The points whose loss on new images is at most `max_drop` percentage points, all of them
    together with the confidence; the longest length is always among them.

    Args:
        points: of one method.
        images: that they were measured on.
    """
    found = [point for point in points if point.longest]
    every = sequences(points)
    for sequence in every:
        of_each = 1 - (1 - confidence) / len(every)
        for point in sequence:
            if most_lost(point.lost, images, of_each) > max_drop:
                break
            found.append(point)
    return found
