"""What the comparison makes of times and answers."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vintk_jax.adapting.results import summary_of
from vintk_jax.adaptive import assigner_networks, compared_methods, comparison
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.adaptive.calibration import Calibration
from vintk_jax.adaptive.compared_methods import Method
from vintk_jax.adaptive.comparison import compare
from vintk_jax.adaptive.feature_assigner import FeatureAssigner
from vintk_jax.errors import UserError
from vintk_jax.inference.engine import DONE, Engine, Plan, Step
from vintk_jax.inference.plans import Plans
from vintk_jax.report.adaptive_table import advice


def entry(name, speed, accuracy, budget=None, flops=1.0):
    """Of adaptive.json."""
    return {
        "name": name,
        "budget": budget,
        "accuracy": accuracy,
        "images_per_second": speed,
        "flops_per_image": flops,
        "mix": {},
    }


ENTRIES = [
    entry("fixed-16", 100.0, 0.90, flops=10.0),
    entry("fixed-4", 200.0, 0.86, flops=5.0),
    entry("fixed-1", 500.0, 0.70, flops=2.0),
    entry("tla", 160.0, 0.895, 0.5, flops=6.0),
    entry("tla", 250.0, 0.85, 2.0, flops=4.0),
    entry("cascade", 150.0, 0.89, 0.5),
    entry("cascade", 125.0, 0.90, 0.2),
    entry("oracle", 400.0, 0.97, flops=3.0),
]


def test_at_equal_speed():
    """1/160 s an image: between fixed 1/100 and 1/200; between the cascade's settings the better of
    the slower and their mixture.
    """
    first, second = comparison.at_equal_speed(ENTRIES)
    assert first["budget"] == 0.5
    assert first["speed"] == pytest.approx(1.6)
    assert first["gain"] == pytest.approx(-0.5)
    share = (1 / 160 - 1 / 200) / (1 / 100 - 1 / 200)
    assert first["random"] == pytest.approx(0.86 + share * 0.04)
    assert first["cascade"] is None  # its fastest takes 1/150 s
    assert first["tome"] is None
    assert second["random"] == pytest.approx(
        0.70 + (1 / 250 - 1 / 500) / (1 / 200 - 1 / 500) * 0.16
    )


@given(
    points=st.lists(st.tuples(st.floats(0.1, 10), st.floats(0, 1)), min_size=1, max_size=6),
    seconds=st.floats(0.1, 10),
)
def test_the_best_mixture(points, seconds):
    """Never less than a setting that is fast enough, never more than the best; None only where
    nothing is fast enough.
    """
    times, accuracies = (np.array(values) for values in zip(*sorted(points), strict=True))
    reached = comparison.reached_at(seconds, times, accuracies)
    fast = [a for t, a in points if t <= seconds]
    if not fast:
        assert reached is None
    else:
        assert max(fast) - 1e-12 <= reached <= accuracies.max() + 1e-12


def test_the_share_of_the_oracles_saving():
    """Of 1/100 - 1/400 s and of 10 - 3 operations."""
    shares = comparison.captured(ENTRIES)
    assert shares["time"] == pytest.approx((1 / 100 - 1 / 160) / (1 / 100 - 1 / 400))
    assert shares["multiply_adds"] == pytest.approx(4 / 7)


def test_entries_say_what_was_answered():
    """Two lengths; even images end at the first: accuracy, shares, multiply-adds by hand, speeds
    positive.
    """

    def even(images):
        return images[:, 0, 0, 0] % 2 == 0

    def said(images):
        return (np.eye(3, dtype=np.float32)[images[:, 0, 0, 0] % 3], even(images))

    plan = Plan(
        [
            Step("4", said, lambda found: np.where(found[1], DONE, 1)),
            Step("16", said, lambda found: np.full(len(found[0]), DONE)),
        ]
    )
    images = np.zeros((10, 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(10)
    labels = np.where(np.arange(10) < 9, np.arange(10) % 3, 1)  # the last is said to be 0
    steps = []
    methods = [
        Method("cascade", 0.5, plan, (1.0, 5.0)),
        Method("fixed-16", None, Plan(plan.steps[1:]), (5.0,)),
    ]
    methods.append(dataclasses.replace(methods[1], name="tla"))  # of the same plan
    engines = [Engine(method.plan, (2, 2, 3), (1, 4)) for method in methods]
    found = compare(methods, engines, images, labels, ("4", "16"), 3, steps.append)
    assert steps == list(range(1, 10))
    cascade, fixed, same = found
    assert same == {**fixed, "name": "tla"}
    assert (cascade["name"], cascade["budget"], cascade["accuracy"], cascade["mix"]) == (
        "cascade",
        0.5,
        0.9,
        {"4": 0.5, "16": 0.5},
    )
    # all at the first step, half at the second too
    assert cascade["flops_per_image"] == 1 + 0.5 * 5
    assert (fixed["mix"], fixed["flops_per_image"]) == ({"16": 1.0}, 5.0)
    assert min(cascade["images_per_second"], fixed["images_per_second"]) > 0


def test_a_looser_budget_is_never_slower():
    """It has the run of a tighter one that was faster. The first of a name keeps its own, and so do
    other methods, and one that only costs limit.
    """
    plans = [Plan([]) for _ in range(6)]
    budgets = [0.7, 1.0, 0.2, 0.5, 0.5, np.inf]
    names = ["tla", "tla", "tla", "tla", "cascade", "tla"]
    compared = [
        Method(name, budget, plan, (1.0,))
        for name, budget, plan in zip(names, budgets, plans, strict=True)
    ]
    seconds = [[t, 9 * t, t] for t in (4.0, 3.0, 2.0, 1.5, 5.0, 7.0)]
    assert comparison._never_slower(compared, range(6), seconds) == [0, 3, 2, 3, 4, 5]


def advised(*rows):
    """The sentence for rows of (budget, speed, gain, tla, random, cascade)."""
    names = ("budget", "speed", "gain", "tla", "random", "cascade")
    return advice(
        {
            "methods": ENTRIES,
            "batch_size": 64,
            "device": "cpu",
            "images": 1000,
            "at_equal_speed": [dict(zip(names, row, strict=True)) for row in rows],
        }
    )


def test_advice():
    """The budget that is farthest above fixed lengths; none where none is faster; a cascade that is
    better is named.
    """
    tight = (0.2, 1.2, -0.1, 0.90, 0.88, 0.89)
    loose = (1.0, 2.0, -0.9, 0.89, 0.80, 0.895)
    line = advised(tight, loose)
    assert "budget.max_drop=1 images come 2.00 times as fast" in line
    assert "-0.90 points on these 1,000 images" in line
    assert "-9.00 points beside it" in line
    assert "A cascade by confidence reaches 0.50 points more" in line
    assert "cascade" not in advised(tight)
    assert "doesn't pay" in advised((0.2, 1.0, 0.0, 0.9, 0.9, None), (1.0, 1.04, 0, 0.9, 0.9, None))


class FakePlans(Plans):
    """Two lengths, whose tokens can't be merged."""

    def __init__(self):
        self.names = ("4", "16")
        self.multiply_adds = {"4": 1, "16": 4}
        self.begins_at = [0, 1]

    def fixed(self, name):
        """A plan of its own."""
        return Plan([])

    def known(self, lengths):
        """A plan of its own."""
        return Plan([])

    def cascade(self, threshold, start=0, earlier_weight=0.0):
        """A plan of its own."""
        return Plan([])

    def merged(self, count, by_attention=False):
        """Refused."""
        raise UserError("no")


class FakeAssigner(FeatureAssigner):
    """With a plan of its own."""

    def plan(self, plans):
        """As all others have."""
        return Plan([])

    def paid_by_step(self, plans):
        """One stage."""
        return (1.5, 4.0)


def test_the_longest_length_for_all_is_one_plan():
    """Whether it is fixed or an assigner's setting; another setting has its own."""
    longest = Point(0.0, 0.9, 1.0, 0.0, (0.0, 1.0), start=1)
    cheap = Point(1.0, 0.5, 0.3, 0.0, (1.0, 0.0))
    module = assigner_networks.make("shared", 2, 8, 8)
    found = compared_methods.methods(
        FakePlans(),
        FakeAssigner(module, ({},), "smallest", 8, 0.0, (0.25, 1.0)),
        Calibration(10, 0.9, [cheap, longest], [cheap]),
        np.ones((10, 2), bool),
        (0.5, 50.0),
        1.0,
        0.9,
        0,
    )
    (fixed,) = (method for method in found if method.name == "fixed-16")
    tight, loose = (method for method in found if method.name == "tla")
    assert tight.plan is fixed.plan
    assert tight.flops == (4,)
    assert loose.plan is not fixed.plan
    assert loose.flops == (1.5, 4.0)


@pytest.mark.parametrize(("speed", "words"), [(1.0, "saves nothing"), (1.5, "1.50 times as fast")])
def test_what_adapt_says_of_it(speed, words, tmp_path):
    """It saves something, or nothing."""
    length = {"tokens": "16", "accuracy": 0.9, "low": 0.8, "high": 1.0, "multiply_adds": 4}
    line = {"tla": 0.9, "speed": speed, "gain": 0.0}
    result = {"lengths": [length], "images": 10, "at_equal_speed": [line]}
    (tmp_path / "adapt.json").write_text(json.dumps(result))
    assert words in summary_of(tmp_path)[-1]
