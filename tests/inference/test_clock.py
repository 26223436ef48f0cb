"""Costs by the clock."""

import json

import numpy as np
import pytest
from inference.test_region_plans import params, plans, spec  # noqa: F401 (fixtures)

from vintk_jax.inference import clock


def test_longer_passes_take_longer(plans):  # noqa: F811
    """Seconds of each length's own pass are positive, and what lengths cost by them is theirs."""
    seconds = clock.seconds_of_passes(plans, 64, rounds=3)
    assert seconds.shape == (3,)
    assert (seconds > 0).all()
    counted = plans.costs
    plans.seconds = np.array([1.0, 3.0, 4.0])
    try:
        assert plans.costs == (0.25, 0.75, 1.0)
        assert plans.costs_alone == (0.25, 1.0, 1.0)
    finally:
        plans.seconds = None
    assert plans.costs == counted


def test_what_was_measured_is_kept(plans, tmp_path, monkeypatch):  # noqa: F811
    """For the same model, size of batch and machine; a file that can't be read is made again."""
    calls = []

    def measured(plans, batch_size):
        calls.append(batch_size)
        return np.array([1.0, 2.0, 3.0]) * len(calls)

    monkeypatch.setattr(clock, "seconds_of_passes", measured)
    first = clock.kept_seconds(plans, 8, tmp_path, "a")
    np.testing.assert_array_equal(clock.kept_seconds(plans, 8, tmp_path, "a"), first)
    assert calls == [8]
    assert clock.kept_seconds(plans, 16, tmp_path, "a")[0] == 2
    assert clock.kept_seconds(plans, 16, tmp_path, "b", keep=False)[0] == 3
    assert json.loads((tmp_path / clock.FILE).read_text())["seconds"][0] == 2
    (tmp_path / clock.FILE).write_text("{")
    assert clock.kept_seconds(plans, 16, tmp_path, "a")[0] == pytest.approx(4)
