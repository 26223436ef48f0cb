"""From chances to lengths, from budgets to settings, against search by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vintk_jax.adaptive import policies
from vintk_jax.adaptive.policies import Point
from vintk_jax.errors import UserError

CHANCES = hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(0, 1))
COSTS = np.array([0.25, 0.5, 1.0])


@given(chances=CHANCES, price=st.floats(0, 3))
def test_the_length_with_the_best_balance(chances, price):
    """No other length of an image is worth more."""
    lengths = policies.by_price(chances, COSTS, price)
    worth = chances - price * COSTS
    np.testing.assert_array_equal(worth[np.arange(len(chances)), lengths], worth.max(axis=1))


@given(chances=CHANCES)
def test_a_higher_price_never_buys_more_tokens(chances):
    """From no price, where only chances count, to the highest, where everybody is at the shortest; each image goes down on the way."""
    settings = sorted(policies.prices(chances, COSTS))
    taken = np.stack([policies.by_price(chances, COSTS, price) for price in settings])
    assert (np.diff(taken, axis=0) <= 0).all()
    np.testing.assert_array_equal(taken[0], chances.argmax(axis=1))
    assert (taken[-1] == 0).all()


@given(confidence=CHANCES, threshold=st.floats(0, 1.1))
def test_a_cascade_stops_at_the_first_that_is_sure(confidence, threshold):
    """By going through the lengths one by one; what it is given stays as it was."""
    before = confidence.copy()
    lengths = policies.by_confidence(confidence, threshold)
    np.testing.assert_array_equal(confidence, before)
    for row, length in zip(confidence, lengths, strict=True):
        assert all(value < threshold for value in row[:length])
        assert length == 2 or row[length] >= threshold


def test_thresholds_reach_from_nobody_to_everybody():
    """Going on."""
    confidence = np.random.default_rng(0).uniform(size=(50, 3))
    settings = policies.thresholds(confidence)
    assert (policies.by_confidence(confidence, settings[0]) == 0).all()
    assert (policies.by_confidence(confidence, settings[-1]) == 2).all()


def test_what_is_paid():
    """For lengths of 1, 3 and 9 and an assigner of 0.5."""
    alone = {"a": 1, "b": 3, "c": 9}
    np.testing.assert_allclose(policies.paid_costs(alone, 0.5, "alone"), [1.5, 3.5, 9.5])
    np.testing.assert_allclose(policies.paid_costs(alone, 0.5, "shortest"), [1.5, 4.5, 10.5])
    np.testing.assert_allclose(policies.paid_costs(alone, 0, "each"), [1, 4, 13])


def test_what_earlier_passes_say_is_blended_in():
    """By hand for one image; along every path probabilities stay probabilities."""
    p = np.array([[[0.6, 0.4], [0.2, 0.8], [0.5, 0.5]]])
    np.testing.assert_array_equal(policies.blend(p, "alone", 0.5), p)
    np.testing.assert_allclose(policies.blend(p, "shortest", 0.5)[0, :, 0], [0.6, 0.4, 0.55])
    np.testing.assert_allclose(policies.blend(p, "each", 0.5)[0, :, 0], [0.6, 0.4, 0.45])


def test_a_curve_by_hand():
    """Two settings of a policy on four images."""
    right = np.array([[True, True], [False, True], [False, True], [True, False]])
    ends = {0.0: np.array([0, 1, 1, 0]), 1.0: np.array([0, 0, 0, 0])}
    points = policies.curve(ends.__getitem__, [0.0, 1.0], right, np.array([0.25, 1.25]))
    assert points == [Point(0.0, 1.0, 0.75, (0.5, 0.5)), Point(1.0, 0.5, 0.25, (1.0, 0.0))]


POINTS = [
    Point(float(i), accuracy, cost, (1.0,)) for i, (accuracy, cost) in enumerate([(0.90, 1.1), (0.898, 0.6), (0.894, 0.4), (0.80, 0.2)])
]


@pytest.mark.parametrize(
    ("max_drop", "max_cost", "setting"),
    [(0.2, 9.0, 1), (0.0, 9.0, 0), (0.7, 1.0, 2), (100.0, 1.0, 3), (np.inf, 0.5, 2), (np.inf, 2.0, 0), (1.0, 0.45, 2)],
)
def test_the_setting_for_a_budget(max_drop, max_cost, setting):
    """The cheapest within the drop; without one, the most accurate within the cost."""
    assert policies.within(POINTS, 0.90, max_drop, max_cost).setting == setting


@pytest.mark.parametrize(
    ("max_drop", "max_cost", "words"),
    [
        (-1.0, 1.0, "0 points at least"),
        (1.0, 0.0, "positive cost"),
        (0.1, 0.5, "0.60 points at least"),
        (1.0, 0.1, "least cost is 0.200"),
        (float("nan"), 1.0, "0 points at least"),
    ],
)
def test_budgets_that_cannot_be_kept(max_drop, max_cost, words):
    """Say what would be nearest."""
    with pytest.raises(UserError, match=words):
        policies.within(POINTS, 0.90, max_drop, max_cost)
