"""Rank statistics against their definitions by loops over pairs, and against properties that they
must have.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vintk_jax.ranking import statistics

CONTROLS = np.array([[1.0], [1.0], [2.0], [2.0]])
values = st.lists(st.integers(-5, 5), min_size=6, max_size=12)


def pairs(score, accuracy, keep):
    """Sum of agreements and number of pairs, over pairs that `keep(i, j)` admits."""
    found = [
        np.sign(score[i] - score[j]) * np.sign(accuracy[i] - accuracy[j])
        for i in range(len(score))
        for j in range(i)
        if keep(i, j)
    ]
    return sum(found), len(found)


@given(score=values, seed=st.integers(0, 99))
def test_tau_is_agreement_over_pairs_that_are_not_tied(score, seed):
    score = np.array(score, float)
    accuracy = np.random.default_rng(seed).integers(0, 4, len(score)).astype(float)
    agree, _ = pairs(score, accuracy, lambda i, j: True)
    untied = [sum(x[i] != x[j] for i in range(len(x)) for j in range(i)) for x in (score, accuracy)]
    got = statistics.kendall_tau(score, accuracy)
    if min(untied) == 0:
        assert math.isnan(got)
    else:
        assert got == pytest.approx(agree / math.sqrt(untied[0] * untied[1]))


@given(seed=st.integers(0, 99))
def test_tau_within_groups_counts_their_pairs_alone(seed):
    rng = np.random.default_rng(seed)
    score = rng.random(9)
    accuracy = rng.random(9)
    groups = rng.integers(0, 3, 9).tolist()
    agree, count = pairs(score, accuracy, lambda i, j: groups[i] == groups[j])
    assert statistics.tau_within(score, accuracy, groups) == pytest.approx(agree / count)


def test_no_group_with_a_pair():
    assert math.isnan(statistics.tau_within(np.arange(3.0), np.arange(3.0), ["a", "b", "c"]))


def test_top_fifth_takes_the_most_accurate():
    """20 architectures whose four best are ranked the wrong way round, in an order that is
    otherwise right.
    """
    accuracy = np.arange(20.0)
    score = np.concatenate([np.arange(16.0), [19.0, 18.0, 17.0, 16.0]])
    assert statistics.tau_of_top(score, accuracy) == -1
    assert statistics.kendall_tau(score, accuracy) > 0.9


def test_top_fifth_takes_all_that_are_as_accurate_as_its_last():
    """Of 20 the fourth to the sixth are equal: six are taken, in any order; 12 of the pairs among
    them aren't equal, 11 agree and one doesn't, so tau-b is 10 / sqrt(12 x 15).
    """
    accuracy = np.array([9.0, 8.0, 7.0, 6.0, 6.0, 6.0, *np.arange(14.0) / 14])
    score = np.array([5.0, 6.0, 4.0, 1.0, 2.0, 3.0, *np.zeros(14)])
    rng = np.random.default_rng(0)
    for _ in range(10):
        rows = rng.permutation(20)
        got = statistics.tau_of_top(score[rows], accuracy[rows])
        assert got == pytest.approx(10 / math.sqrt(12 * 15))
    assert math.isnan(statistics.tau_of_top(score[:2], accuracy[:2]))


@pytest.mark.slow
def test_interval_covers_a_known_tau_as_often_as_it_says():
    """Bivariate normal of correlation r: tau = 2 / pi arcsin r. 95% of intervals should cover it;
    40 draws, at least 34.
    """
    truth = 2 / np.pi * np.arcsin(0.6)
    covered = 0
    for seed in range(40):
        x, noise = np.random.default_rng(seed).standard_normal((2, 60))
        low, high = statistics.bootstrap(
            statistics.kendall_tau, x[None], 0.6 * x + 0.8 * noise, seed=seed
        )
        covered += low <= truth <= high
    assert covered >= 34


def compared(score, accuracy):
    """With costs that are the numbers of the architectures."""
    cost = np.arange(float(len(accuracy)))
    scores = np.atleast_2d(score)
    return statistics.compare(scores, accuracy, "aabb", CONTROLS, cost, {"flops": cost})


def test_compare_leaves_out_what_was_not_measured():
    score = np.array([3.0, 1.0, 2.0, 9.0])
    accuracy = np.array([30.0, 10.0, 20.0, np.nan])
    found = compared(score, accuracy)
    assert found["num_architectures"] == 3
    assert found["kendall_tau"] == found["spearman_rho"] == pytest.approx(1)
    assert found["first_choice"] == {"accuracy": 30.0, "rank": 1, "equals": 1}
    assert compared(np.ones(4), np.arange(4.0))["kendall_tau"] is None
    assert compared(score, np.full(4, np.nan))["kendall_tau"] is None


def test_first_choice_among_equals():
    """The mean of those with the highest score, not the table's first row."""
    found = compared(np.array([5.0, 1.0, 5.0, 0.0]), np.array([10.0, 30.0, 20.0, 40.0]))
    assert found["first_choice"] == {"accuracy": 15.0, "rank": 4, "equals": 2}


def test_correlations_are_means_over_seeds():
    """One seed is right, the other wrong: tau 1 and -1, the mean 0; rows and seeds are drawn for
    the interval.
    """
    accuracy = np.arange(4.0)
    found = compared(np.stack([accuracy, -accuracy]), accuracy)
    assert found["tau_by_seed"] == pytest.approx([1, -1])
    assert found["kendall_tau"] == found["spearman_rho"] == pytest.approx(0)
    assert found["ci95"] == pytest.approx([-1, 1])


def test_partial_tau_holds_the_controls_fixed():
    """A score that is the control has nothing left; one that adds to it what the accuracy has
    beyond it agrees wholly; noise does not.
    """
    rng = np.random.default_rng(0)
    control, own, noise = rng.standard_normal((3, 400))
    accuracy = control + 0.3 * own
    assert math.isnan(statistics.partial_tau(control, accuracy, control[:, None]))
    # only ranks count
    assert math.isnan(statistics.partial_tau(np.exp(control), accuracy, control[:, None]))
    assert statistics.partial_tau(2 * accuracy + 1, accuracy, control[:, None]) == pytest.approx(1)
    assert (
        statistics.partial_tau(control + 0.3 * own, accuracy + 0.01 * noise, control[:, None]) > 0.8
    )
    assert abs(statistics.partial_tau(control + 0.3 * noise, accuracy, control[:, None])) < 0.1
    two = np.stack([control, own], axis=1)
    assert abs(statistics.partial_tau(control + own + noise, accuracy, two)) < 0.15
