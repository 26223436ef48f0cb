"""What stands in for something else says so, or doesn't stand in."""

import shutil

import numpy as np
import pytest
from damage import change_a_number

from vintk_jax.errors import UserError
from vintk_jax.workdir.checkpoints import Checkpoints
from vintk_jax.workdir.state import State


def saved(folder, keep=2):
    """Checkpoints of steps 1 and 2: parameters 1 and 2, running means 10 and 20."""
    checkpoints = Checkpoints(folder, {"model": "x"}, keep=keep)
    for step in (1, 2):
        mean = {"w": np.full(3, 10.0 * step, np.float32)}
        params = {"w": np.full(3, float(step), np.float32)}
        checkpoints.save(State(np.int32(step), params, {"none": np.int32(0)}, mean), classes=["a"])
    checkpoints.close()


def test_raw_parameters_do_not_stand_in_for_a_running_mean(tmp_path):
    """A checkpoint whose running mean is gone is damaged: that is said, and the one before it is
    taken; without one, nothing is.
    """
    saved(tmp_path / "best")
    like = {"w": np.zeros(3, np.float32)}
    shutil.rmtree(tmp_path / "best" / "2" / "ema")
    said = []
    reading = Checkpoints(tmp_path / "best", {"model": "x"}, read_only=True)
    restored = reading.restore_params(like, said.append)
    np.testing.assert_array_equal(restored.params["w"], [10.0] * 3)
    assert restored.step == 1  # not the newest's, 2
    assert len(said) == 1
    assert "is corrupt" in said[0]
    shutil.rmtree(tmp_path / "best" / "1" / "ema")
    reading = Checkpoints(tmp_path / "best", {"model": "x"}, read_only=True)
    with pytest.raises(UserError, match="None of the checkpoints"):
        reading.restore_params(like, said.append)


def test_a_changed_byte_changes_no_number(tmp_path):
    """In whichever file of a checkpoint it is: either the damage is noticed and the checkpoint
    before it taken, or the numbers are right (orbax's files hold parts that are read no more).

    One array only: where one of several can't be read, orbax leaves the others' reads to end after
    their event loop, which pytest counts against whatever test runs then.
    """
    like = {"w": np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)}
    checkpoints = Checkpoints(tmp_path / "best", {"model": "x"}, keep=2)
    for step in (1, 2):
        params = {"w": like["w"] + np.float32(step)}
        checkpoints.save(State(np.int32(step), params, {"none": np.int32(0)}, None))
    checkpoints.close()
    noticed = 0
    files = [p for p in (tmp_path / "best" / "2" / "params").rglob("*") if p.is_file()]
    for path in files:
        content = path.read_bytes()
        for place in (len(content) // 4, len(content) // 2):
            changed = bytearray(content)
            changed[place] ^= 255
            path.write_bytes(changed)
            said = []
            reading = Checkpoints(tmp_path / "best", {"model": "x"}, read_only=True)
            restored = reading.restore_params(like, said.append)
            right = like["w"] + np.float32(restored.step)
            np.testing.assert_array_equal(restored.params["w"], right)
            assert (restored.step == 1) == ("is corrupt" in " ".join(said))
            noticed += bool(said)
        path.write_bytes(content)
    assert noticed > 0


def test_a_changed_number_is_noticed(tmp_path):
    """Written by orbax itself, in files that are whole."""
    saved(tmp_path / "best")
    change_a_number(tmp_path / "best" / "2" / "ema")
    said = []
    reading = Checkpoints(tmp_path / "best", {"model": "x"}, read_only=True)
    restored = reading.restore_params({"w": np.zeros(3, np.float32)}, said.append)
    assert restored.step == 1
    assert "the numbers of its ema are not those that were written" in said[0]
