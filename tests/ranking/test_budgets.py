"""What a score gains under a budget, against tables where it is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vintk_jax.ranking import budgets

COST = np.arange(100.0)
seeds = st.integers(0, 10**6)


@given(seed=seeds)
def test_the_accuracy_itself_gains_all(seed):
    """As a score it always chooses the best; turned round, it always chooses the worst and loses;
    one value for all chooses at random and gains nothing.
    """
    accuracy = np.random.default_rng(seed).random(100)
    found, left_out = budgets.choices(accuracy, accuracy, COST)
    assert (len(found), left_out) == (10, 0)
    assert budgets.gain(found) == pytest.approx(1)
    assert budgets.gain(budgets.choices(-accuracy, accuracy, COST)[0]) < 0
    assert budgets.gain(budgets.choices(np.ones(100), accuracy, COST)[0]) == pytest.approx(0)


def test_ten_nearest_below():
    """The first budget is 9.9: architectures 0 to 9; the last is 99: 90 to 99."""
    found, _ = budgets.choices(COST, COST, COST)
    assert found[0] == budgets.Choice(pytest.approx(9.9), 10, 9.0, 4.5, 9.0)
    assert found[-1] == budgets.Choice(99.0, 10, 99.0, 94.5, 99.0)


def test_budgets_with_few_below_are_left_out():
    """Of 30 architectures three lie below the first decile: fewer than five."""
    found, left_out = budgets.choices(COST[:30], COST[:30], COST[:30])
    assert left_out == 1
    assert [choice.among for choice in found] == [6, 9] + [10] * 7


def test_equal_scores_count_their_mean():
    """Two of six have the highest score."""
    score = np.array([0, 0, 0, 0, 1.0, 1.0])
    accuracy = np.array([1.0, 2, 3, 4, 5, 9])
    found, left_out = budgets.choices(score, accuracy, np.ones(6))
    assert left_out == 0
    assert found[0].chosen == 7
    assert found[0].best == 9


def test_interval_and_seeds():
    """The mean over a seed that is right and one that chooses at random; its interval holds it."""
    accuracy = np.random.default_rng(0).random(100)
    scores = np.stack([accuracy, np.ones(100)])
    found = budgets.budget_gain(scores, accuracy, {"flops": COST})["flops"]
    assert found["gain"] == pytest.approx(0.5)
    assert found["ci95"][0] <= 0.5 <= found["ci95"][1]
    assert found["budgets"][0]["chosen"] == found["budgets"][0]["best"]


def test_nothing_to_gain():
    """Equal accuracies."""
    found = budgets.budget_gain(COST[None], np.ones(100), {"flops": COST})["flops"]
    assert found["gain"] is None
    assert found["ci95"] == [None, None]
    assert math.isnan(budgets.gain([]))


def test_all_of_equal_costs_are_chosen_among():
    """Costs 0, 12 times 1, 2, 2: the ten nearest are the two dearest and eight of twelve equal
    ones, so all fourteen are taken.
    """
    cost = np.array([0.0, *[1.0] * 12, 2.0, 2.0])
    accuracy = np.arange(15.0)
    found, _ = budgets.choices(accuracy, accuracy, cost)
    assert found[-1] == budgets.Choice(2.0, 14, 14.0, 7.5, 14.0)


@given(seed=seeds, levels=st.integers(1, 5))
def test_a_gain_is_the_same_in_any_order(seed, levels):
    """With costs that tie at the cut, to the last bit."""
    rng = np.random.default_rng(seed)
    cost = rng.integers(levels, size=20) * 1.1
    accuracy = rng.random(20)
    score = rng.random(20)
    wanted = budgets.gain(budgets.choices(score, accuracy, cost)[0])
    for _ in range(5):
        rows = rng.permutation(20)
        found, _ = budgets.choices(score[rows], accuracy[rows], cost[rows])
        assert budgets.gain(found) == wanted


def test_a_gain_where_all_cost_the_same():
    """By its definition: what the highest score wins over the mean of all twenty."""
    rng = np.random.default_rng(0)
    accuracy = rng.random(20)
    score = rng.random(20)
    got = budgets.gain(budgets.choices(score, accuracy, np.ones(20))[0])
    chosen = accuracy[score.argmax()]
    mean = accuracy.mean()
    assert got == pytest.approx((chosen - mean) / (accuracy.max() - mean))
