"""From chances to lengths, from budgets to settings, against search by hand."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vintk_jax.adaptive import budget_choice, policies
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.errors import UserError

CHANCES = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(0, 1)
)
COSTS = np.array([0.25, 0.5, 1.0])


@given(chances=CHANCES, price=st.floats(0, 3), at=st.sampled_from([None, 0, 1, 2]))
def test_the_length_with_the_best_balance(chances, price, at):
    """No other length that can be reached is worth more; staying is free; there is no way back."""
    lengths = policies.by_price(chances, COSTS, price, at)
    worth = chances - price * np.array([0 if i == at else cost for i, cost in enumerate(COSTS)])
    reachable = worth[:, 0 if at is None else at :]
    assert (lengths >= (0 if at is None else at)).all()
    np.testing.assert_array_equal(worth[np.arange(len(chances)), lengths], reachable.max(axis=1))


@given(chances=CHANCES, at=st.sampled_from([None, 0]))
def test_a_higher_price_never_buys_more_tokens(chances, at):
    """From no price, where only chances count, to the highest, where everybody is at the shortest;
    each image goes down on the way.
    """
    settings = sorted(budget_choice.prices(chances[:, None], COSTS))
    taken = np.stack([policies.by_price(chances, COSTS, price, at) for price in settings])
    assert (np.diff(taken, axis=0) <= 0).all()
    np.testing.assert_array_equal(taken[0], chances.argmax(axis=1))
    assert (taken[-1] == 0).all()


def walked_alone(probabilities, first, decide, keep):
    """One image's way, passes and answer, as its definition says."""
    at = first
    known = probabilities[first]
    passes = [first]
    while at < len(probabilities) - 1:
        after = decide(at, known)
        if after <= at:
            break
        known = keep * known + (1 - keep) * probabilities[after]
        at = after
        passes.append(at)
    return at, known, passes


@given(
    probabilities=hnp.arrays(
        np.float64, st.tuples(st.integers(1, 12), st.just(3), st.just(4)), elements=st.floats(0, 1)
    ),
    threshold=st.floats(0, 1.1),
    keep=st.floats(0, 1),
    seed=st.integers(0, 5),
)
def test_simulated_outcomes(probabilities, threshold, keep, seed):
    """All images at once come where each would by itself: by confidence, by random jumps."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 3, len(probabilities))
    jumps = rng.integers(0, 3, (len(probabilities), 3))
    of_one = {
        "sure": lambda i, at, known: at if known.max() >= threshold else at + 1,
        "jump": lambda i, at, known: max(jumps[i, at], at),
    }
    of_all = {
        "sure": lambda at, known: policies.by_confidence(known, threshold, at),
        "jump": lambda at, known: np.maximum(jumps[:, at], at),
    }
    for name, decide in of_all.items():
        outcomes = policies.simulate(probabilities, first, decide, keep)
        for i in range(len(probabilities)):
            at, known, passes = walked_alone(
                probabilities[i], first[i], partial(of_one[name], i), keep
            )
            assert outcomes.lengths[i] == at
            np.testing.assert_allclose(outcomes.probabilities[i], known, atol=1e-12)
            assert outcomes.passes[i].tolist() == [passes.count(length) for length in range(3)]


def test_thresholds_reach_from_nobody_to_everybody():
    """Going on."""
    confidence = np.random.default_rng(0).uniform(size=(50, 3))
    settings = budget_choice.thresholds(confidence)
    assert (policies.by_confidence(confidence, settings[0], 0) == 0).all()
    assert (policies.by_confidence(confidence, settings[-1], 0) == 1).all()


def test_a_curve_by_hand():
    """Two settings of a policy on four images: the second stays at the first length, the first goes
    on with half of them.
    """
    labels = np.zeros(4, int)
    shorter = np.array([[0.6, 0.4], [0.2, 0.8], [0.2, 0.8], [0.9, 0.1]])
    longer = np.array([[0.9, 0.1]] * 4)
    probabilities = np.stack([shorter, longer], axis=1)
    on = {0.0: np.array([0, 1, 1, 0]), 1.0: np.array([0, 0, 0, 0])}

    def outcomes_of(setting):
        def decide(at, known):
            return on[setting]

        return policies.simulate(probabilities, np.zeros(4, int), decide, 0.0)

    points = budget_choice.curve(
        outcomes_of, [0.0, 1.0], labels, np.ones(4, bool), np.array([0.25, 1.0]), 0.125
    )
    # Two of four wrong where the longest is right: a deviation of 1/2, over the root of 4.
    # Confidences are counted in ten bins.
    assert points == [
        Point(0.0, 1.0, 0.875, 0.0, (0.5, 0.5), lost=0, confidences=(*[0] * 6, 1, 0, 0, 3)),
        Point(1.0, 0.5, 0.375, 25.0, (1.0, 0.0), lost=2, confidences=(*[0] * 6, 1, 0, 2, 1)),
    ]


POINTS = [
    Point(float(i), accuracy, cost, 0.1 * i, (1.0,))
    for i, (accuracy, cost) in enumerate([(0.90, 1.1), (0.898, 0.6), (0.894, 0.4), (0.80, 0.2)])
]


@pytest.mark.parametrize(
    ("max_drop", "max_cost", "confidence", "setting"),
    [
        (0.2, 9.0, 0.5, 1),
        (0.2, 9.0, 0.9, 0),  # 0.2 points, 0.13 more to be sure
        (0.33, 9.0, 0.9, 1),
        (0.0, 9.0, 0.99, 0),
        (0.7, 1.0, 0.5, 2),
        (100.0, 1.0, 0.9, 3),
        (np.inf, 0.5, 0.9, 2),
        (np.inf, 2.0, 0.9, 0),
        (1.0, 0.45, 0.9, 2),
    ],
)
def test_the_setting_for_a_budget(max_drop, max_cost, confidence, setting):
    """The cheapest within the drop; without one, the most accurate within the cost."""
    assert budget_choice.within(POINTS, 0.90, max_drop, max_cost, confidence).setting == setting


@pytest.mark.parametrize("confidence", [0.4, 1.0])
def test_how_sure_one_can_be(confidence):
    """From a half to almost."""
    with pytest.raises(UserError, match=r"confidence from 0\.5"):
        budget_choice.within(POINTS, 0.90, 1.0, 1.0, confidence)


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
        budget_choice.within(POINTS, 0.90, max_drop, max_cost, 0.5)
