"""What is promised of new images holds as often as it says, by simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vintk_jax.adaptive import guarantees
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.adaptive.budget_line import budget_line
from vintk_jax.adaptive.calibration import Calibration
from vintk_jax.errors import UserError

TRIALS = 2000
SETTINGS = 24


def test_limit_by_its_definition():
    """So many lost or fewer have a probability of one tenth, if the share is the limit; none among
    1,000 bounds it at .23 points.
    """
    for lost, images in ((0, 100), (3, 100), (17, 1000)):
        share = guarantees.most_lost(lost, images, 0.9) / 100
        assert stats.binom.cdf(lost, images, share) == pytest.approx(0.1)
    assert guarantees.most_lost(0, 1000, 0.9) == pytest.approx(0.23, abs=0.001)
    assert guarantees.most_lost(5, 5, 0.9) == 100


@given(max_drop=st.floats(0.05, 20), confidence=st.sampled_from([0.8, 0.9, 0.95]))
def test_images_needed(max_drop, confidence):
    """With so many a promise holds if none is lost, with one less it doesn't."""
    needed = guarantees.images_needed(max_drop, confidence)
    assert guarantees.most_lost(0, needed, confidence) <= max_drop
    assert needed == 1 or guarantees.most_lost(0, needed - 1, confidence) > max_drop


def points_of(counts, start=0):
    """Settings of falling cost that lose so many."""
    return [
        Point(float(i), 0.9, 1 - i / SETTINGS, 0.0, (0.5, 0.5), start, int(count))
        for i, count in enumerate(counts)
    ]


LONGEST = Point(0.0, 0.9, 1.0, 0.0, (0.0, 1.0), 1, 0)


@pytest.mark.parametrize("images", [100, 300, 1000, 4000])
def test_promises_are_kept(images):
    """An image is lost from some setting on, most never: the share that is lost grows from 0 to 10
    points. At every budget the cheapest promised setting loses more than that on new images in at
    most 12% of the trials (a tenth is allowed, and 2,000 trials are uncertain by .7%), for two
    first lengths at once.
    """
    rng = np.random.default_rng(0)
    share = 0.1 * (np.arange(SETTINGS) / (SETTINGS - 1)) ** 2  # lost by each setting
    budgets = (0.2, 0.5, 1.0, 2.0)
    broken = dict.fromkeys(budgets, 0)
    for _ in range(TRIALS):
        points = [LONGEST]
        for start in (0, 2):
            drawn = np.sort(rng.random(images))  # an image is lost where its number is below
            points += points_of(np.searchsorted(drawn, share), start)
        for budget in budgets:
            allowed = guarantees.promised(points, images, budget, 0.9)
            cheapest = min(allowed, key=lambda point: point.cost)
            lost = 0.0 if cheapest.longest else 100 * share[int(cheapest.setting)]
            broken[budget] += lost > budget
    assert max(broken.values()) <= 0.12 * TRIALS
    if images >= 1000:  # and the promise is worth something
        assert broken[2.0] > 0


def test_the_first_failure_ends_a_sequence():
    """A cheaper setting that looks good behind one that doesn't is luck."""
    allowed = guarantees.promised([LONGEST, *points_of([0, 0, 50, 0, 0])], 1000, 0.5, 0.9)
    assert [point.setting for point in allowed[1:]] == [0.0, 1.0]


def test_where_nothing_can_be_promised():
    """The longest length is left."""
    assert guarantees.promised([LONGEST, *points_of([0, 0])], 100, 0.2, 0.9) == [LONGEST]
    assert guarantees.images_needed(0.2, 0.9) == 1151


def calibration(images, *points):
    return Calibration(images, 0.9, list(points), list(points[1:]))


def test_which_sets_the_thresholds():
    """Measured, a setting without a lost image among 300 is within 0.2 points; promised, it isn't,
    and the line says how many images it would take. With 4,000 images both take it.
    """
    few = calibration(300, LONGEST, *points_of([0, 0, 9]))
    assert few.choose("assigned", 0.2, 2.0, 0.9).setting == 2.0
    assert few.choose("assigned", 0.2, 2.0, 0.9, "promised") == LONGEST
    with pytest.raises(UserError, match="No setting is promised"):
        few.choose("cascade", 0.2, 2.0, 0.9, "promised")
    line = budget_line(few, 0.2, 2.0, 0.9, "promised")
    assert "at most 0.00 points less" in line
    assert "1,151 images at least, none of them lost" in line
    many = calibration(4000, LONGEST, *points_of([0, 0, 90]))
    assert many.choose("assigned", 0.2, 2.0, 0.9, "promised").setting == 1.0
    assert "measured: " in budget_line(many, 0.2, 2.0, 0.9)


def test_records_from_before_images_were_counted():
    """Have no promise, and say what to do."""
    old = calibration(300, Point(0.0, 0.9, 0.5, 0.0, (1.0, 0.0)))
    assert old.promise(old.assigned[0], 0.9) is None
    assert "Promised" not in budget_line(old, 0.2, 2.0, 0.9)
    with pytest.raises(UserError, match="calibrated before"):
        old.choose("assigned", 0.2, 2.0, 0.9, "promised")


def test_images_needed_for_hardly_any_drop():
    """Of none lost among n the limit is 1 - .1^(1/n), about 2.3026 / n; where that number is no
    float more, none is enough.
    """
    assert guarantees.images_needed(1e-20, 0.9) == pytest.approx(np.log(10) * 1e22, rel=1e-12)
    assert guarantees.images_needed(1e-8, 0.9) == pytest.approx(np.log(10) * 1e10, rel=1e-9)
    for never in (0, -1, 1e-310, 5e-324):
        assert guarantees.images_needed(never, 0.9) == -1
    assert guarantees.images_needed(1, 1) == -1
    assert guarantees.images_needed(100, 0.9) == guarantees.images_needed(np.inf, 0.9) == 1


@pytest.mark.parametrize(("max_drop", "confidence"), [(np.nan, 0.9), (1, np.nan), (1, 0), (1, 1.5)])
def test_numbers_that_promise_nothing(max_drop, confidence):
    """NaN compares with nothing, so a promise of it would never fail."""
    with pytest.raises(UserError, match=r"Expected a (drop|confidence)"):
        guarantees.images_needed(max_drop, confidence)
    with pytest.raises(UserError, match=r"Expected a (drop|confidence)"):
        guarantees.promised([LONGEST, *points_of([0])], 1000, max_drop, confidence)


def test_what_was_not_counted_is_not_promised():
    """-1 lost images are none that were counted; the longest length alone loses nothing."""
    with pytest.raises(UserError, match=r"Expected the number of lost images.*got -1"):
        guarantees.promised([LONGEST, *points_of([-1])], 10, 50, 0.9)
    with pytest.raises(UserError, match="got -1"):
        guarantees.most_lost(-1, 10, 0.9)
    old = LONGEST.__class__(**{**LONGEST.__dict__, "lost": -1})
    assert guarantees.promised([old], 10, 50, 0.9) == [old]
