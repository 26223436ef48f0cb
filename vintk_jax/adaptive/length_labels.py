"""Token-length labels: for each image the smallest length at which the model is right (arXiv
2307.02092).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from vintk_jax.errors import UserError

NONE_RIGHT = ("shortest", "longest", "drop")


def smallest_right(
    right: Bool[np.ndarray, "n lengths"], none_right: str
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """A label for each image, and its weight in the loss.

    Where no length is right, more tokens gain nothing: with labels so made, the assigner's
    probability of a length is the share of images that are first right there, and "shortest" leaves
    the hopeless ones out of it at every other length. "longest" is the cautious choice of many
    cascades, "drop" leaves such images out of training. Which is better by the numbers:
    docs/adaptive.md.

    Args:
        right: whether the model is right at each length, cheapest first.
        none_right: one of `NONE_RIGHT`.

    Raises:
        UserError: for any other.
    """
    if none_right not in NONE_RIGHT:
        raise UserError(
            f"Expected labels.none_right to be one of {', '.join(NONE_RIGHT)}, got {none_right!r}."
        )
    hopeless = ~right.any(axis=1)
    labels = np.where(
        hopeless, right.shape[1] - 1 if none_right == "longest" else 0, right.argmax(axis=1)
    )
    return labels, np.where(hopeless & (none_right == "drop"), 0.0, 1.0)


def distribution(
    right: Bool[np.ndarray, "n lengths"], none_right: str, names: Sequence[str]
) -> dict[str, float]:
    """The share of each label among the images that count, and of those that no length is right
    about ("none").
    """
    labels, weights = smallest_right(right, none_right)
    counts = np.bincount(labels, weights, minlength=len(names))
    shares = {
        name: float(count / max(weights.sum(), 1))
        for name, count in zip(names, counts, strict=True)
    }
    return {**shares, "none": float((~right.any(axis=1)).mean())}
