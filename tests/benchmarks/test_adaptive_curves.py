"""What an adaptive study reads off adaptive.json."""

import numpy as np
import pytest

from benchmarks.adaptive_curves import Curve


def entry(name, accuracy, images_per_second):
    return {"name": name, "accuracy": accuracy, "images_per_second": images_per_second}


ENTRIES = [
    entry("fixed-64", 0.80, 100.0),
    entry("fixed-16", 0.70, 400.0),
    entry("tla", 0.81, 125.0),
    entry("tla", 0.79, 200.0),
    entry("oracle", 0.90, 300.0),
]


def test_gains_and_speeds_of_mixtures():
    """By hand: between two settings times and points mix; beyond the fastest nothing is reached;
    the longest length is a setting of every method.
    """
    curve = Curve.of(ENTRIES, "tla")
    np.testing.assert_allclose(sorted(curve.times), [0.5, 0.8, 1.0])
    assert curve.gain_at(1.25) == pytest.approx(1.0)
    assert curve.gain_at(1.0) == pytest.approx(1.0)  # the faster setting is better than the longest
    assert curve.gain_at(2.0) == pytest.approx(-1.0)
    assert curve.gain_at(1 / 0.65) == pytest.approx(0.0)
    assert np.isnan(curve.gain_at(2.1))
    assert curve.speed_at(0.0) == pytest.approx(1 / 0.65)
    assert curve.speed_at(1.0) == pytest.approx(2.0)
    assert curve.speed_at(5.0) == pytest.approx(2.0)
    fixed = Curve.of(ENTRIES, "fixed")
    assert fixed.speed_at(5.0) == pytest.approx(1 / 0.625)
    assert Curve.of(ENTRIES, "tome").speed_at(1.0) == 1.0
