"""How far what comes is from what calibration saw."""

import numpy as np
import pytest

from vintk_jax.adaptive.drift import BINS, Drift, Reference, by_chance, sure

NEAR = Reference(4000, (0.5, 0.5), (0.0,) * 5 + (0.2,) * 5)
FAR = Reference(1000, (0.0, 1.0), (0.0,) * 9 + (1.0,))


def drawn(reference, count, seed=0):
    """Lengths and confidences as a reference has them."""
    rng = np.random.default_rng(seed)
    lengths = rng.choice(len(reference.mix), count, p=reference.mix)
    bins = rng.choice(BINS, count, p=reference.sure)
    return lengths, ((bins + rng.random(count)) / BINS).astype(np.float32)


def test_bins_of_confidences():
    """Ten equal parts; certainty is in the last."""
    np.testing.assert_array_equal(
        sure(np.array([0.0, 0.09, 0.5, 0.99, 1.0])), [2, 0, 0, 0, 0, 1, 0, 0, 0, 2]
    )


def test_the_same_images_are_no_drift():
    """In 200 trials of 1,000 images each, beyond a limit of 0.05 and chance: hardly ever."""
    beyond = 0
    for seed in range(200):
        drift = Drift(2, 1000, 0.05)
        drift.expect(3, NEAR)
        lengths, confidences = drawn(NEAR, 1000, seed)
        drift.add(np.full(1000, 3), lengths, confidences)
        beyond += drift.distance().beyond
    assert beyond <= 2


def test_other_images_are():
    """The distance is the total variation: half of the images have another length."""
    drift = Drift(2, 1000, 0.15)
    drift.expect(0, FAR)
    lengths, confidences = drawn(FAR, 199)
    lengths[::2] = 0
    drift.add(np.zeros(199, int), lengths, confidences)
    found = drift.distance()
    assert found.mix == pytest.approx(100 / 199)
    assert not found.known
    drift.add(np.zeros(1, int), np.zeros(1, int), np.full(1, 0.05, np.float32))
    found = drift.distance()
    assert found.mix == pytest.approx(101 / 200)
    assert found.sure == pytest.approx(1 / 200)
    assert found.beyond


def test_each_image_is_compared_at_its_own_setting():
    """A mixture of settings is expected to be the mixture of their references; settings that
    nobody calibrated are left out; the window forgets.
    """
    drift = Drift(2, 600, 0.1)
    drift.expect(0, NEAR)
    drift.expect(1, FAR)
    for setting, reference, count in ((0, NEAR, 400), (1, FAR, 200)):
        lengths, confidences = drawn(reference, count)
        drift.add(np.full(count, setting), lengths, confidences)
    drift.add(np.full(500, 7), np.zeros(500, int), np.zeros(500, np.float32))
    found = drift.distance()
    assert found.images == 600
    assert not found.beyond
    drift.add(np.ones(600, int), np.zeros(600, int), np.full(600, 0.95, np.float32))
    found = drift.distance()
    assert found.mix == pytest.approx(1.0)
    assert found.sure == pytest.approx(0.0)
    assert found.beyond


def test_chance_is_bounded():
    """The mean distance of two samples of one distribution is below the bound."""
    rng = np.random.default_rng(0)
    uniform = np.full(BINS, 1 / BINS)
    distances = [
        np.abs(rng.multinomial(500, uniform) / 500 - rng.multinomial(300, uniform) / 300).sum() / 2
        for _ in range(500)
    ]
    bound = by_chance(BINS, 500, 300)
    assert np.mean(distances) < bound < 1.2 * np.mean(distances)
