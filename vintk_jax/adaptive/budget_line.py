"""A budget in a sentence: what an assigner is expected to come to, and what can be promised."""

import math

from vintk_jax.adaptive import guarantees
from vintk_jax.adaptive.calibration import Calibration


def budget_line(
    calibration: Calibration,
    max_drop: int | float,
    max_cost: int | float,
    confidence: int | float,
    by: str = "measured",
) -> str:
    """What the assigner is expected to come to within a budget, and what can be promised of it."""
    point = calibration.choose("assigned", max_drop, max_cost, confidence, by)
    line = (
        f"Within {max_drop} points ({confidence:.0%} sure) and {max_cost:.0%} of the cost, "
        f"{by}: {point.accuracy:.2%} at {point.cost:.1%} of the "
        f"longest length's cost; the longest alone {calibration.full:.2%} (on the "
        f"{calibration.images:,} images that thresholds were set by)."
    )
    promise = calibration.promise(point, confidence)
    if promise is None:
        return line
    line += (
        f" Promised of new images, {confidence:.0%} sure: at most {promise:.2f} points less than "
        "the longest."
    )
    if by == "promised" and point.longest and math.isfinite(max_drop):
        needed = guarantees.images_needed(max_drop, confidence)
        line += (
            f" No shorter length can be promised; that takes {needed:,} images at least, none of "
            "them lost."
            if needed > 0
            else " No shorter length can be promised to lose nothing."
        )
    return line
