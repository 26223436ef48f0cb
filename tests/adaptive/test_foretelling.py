"""What is foretold of answers that are known."""

import numpy as np

from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.foretelling import foretold_line, of_answers
from vintk_jax.inference.plans import Plans


class Known(Plans):
    """Two lengths, of which the short one takes a quarter of the time."""

    def __init__(self):
        self.names = ("4", "16")
        self.begins_at = [0, 1]
        self.seconds = np.array([1.0, 4.0])


def answers(short, sure):
    """Of two classes, all of class 0: the long length is always right, the short one as told, as
    sure as told.
    """
    count = len(short)
    top = np.where(sure, 0.9, 0.6)
    of_short = np.where(short[:, None], [[1, 0]], [[0, 1]]) * (2 * top - 1)[:, None]
    of_short = of_short + (1 - top)[:, None]
    of_long = np.tile([0.95, 0.05], (count, 1))
    return Answers(
        ("4", "16"),
        np.zeros(count, int),
        np.stack([of_short, of_long], axis=1).astype(np.float32),
        np.zeros((count, 2, 2, 3), np.uint8),
        np.zeros((count, 1, 3), np.float32),
    )


def test_a_cascade_and_an_oracle_by_hand():
    """Half of the images are right and sure at the short length, a tenth right and unsure, the rest
    wrong and unsure.
    """
    kind = np.arange(100)
    found = of_answers(answers(kind < 60, kind < 50), Known(), 0.0, 0.0)
    assert found.images == 100
    assert found.accuracies == {"4": 0.6, "16": 1.0}
    # All pay the short pass; the unsure half goes on.
    np.testing.assert_allclose(found.cascade, 0.25 + 0.5)
    np.testing.assert_allclose(found.oracle, 0.6 * 0.25 + 0.4)
    line = foretold_line(found, 0.0)
    assert "4 tokens 60.0%, 16 tokens 100.0% right" in line
    assert "takes 75% of the time of 16 tokens for all" in line
    assert "may well pay" in line


def test_a_useless_short_length():
    """It is never right: the longest length for all is the best, and is told as 100%."""
    none = np.zeros(50, bool)
    found = of_answers(answers(none, none), Known(), 0.0, 0.0)
    assert found.cascade == 1.0
    assert "hardly pay" in foretold_line(found, 0.0)
