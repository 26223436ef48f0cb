"""The command for a lent accelerator, as a smoke run on the CPU."""

import json
import subprocess
import sys

import pytest

from benchmarks import common

pytestmark = pytest.mark.slow


def test_a_small_run_measures_every_part_and_goes_on_where_it_was_stopped(tmp_path):
    out = tmp_path / "on_device.json"
    command = [sys.executable, "-m", "benchmarks.on_device", "--small", "--out", str(out)]

    def run(*more):
        done = subprocess.run(
            [*command, *more], cwd=common.ROOT, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    stopped = run("--minutes", "0")
    assert "No time was left for" in stopped
    run("--minutes", "10")
    found = json.loads(out.read_text())["found"]
    parts = {name.split(" | ")[0] for name in found}
    assert parts == {"product", "kernel", "candidates", "train step", "inference"}
    assert not [name for name, figures in found.items() if "failed" in figures]
    ours = next(figures for name, figures in found.items() if name.endswith("| ours"))
    assert ours["error"] < 1e-5
    before = out.read_text()
    run()
    assert out.read_text() == before
