"""Searches of seconds, for tests of the search command.

Where a search is killed or shares its work it runs in a process of its own, else in this one.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from vintk_jax.search import main

ROOT = Path(__file__).parents[2]
# As many devices as this process has: their number decides the last bits of a score.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "JAX_NUM_CPU_DEVICES": "2"}
SMALL = [
    "--config.space=tiny_space:SPACE",
    "--config.inputs.num_images=4",
    "--config.inputs.image_size=16",
    "--config.ntk.num_classes=5",
    "--config.search.population=8",
    "--config.search.num_candidates=40",
]
QUICK = "--config.score.name=params"  # no kernels, for tests of what doesn't depend on the score


def command(workdir, *overrides):
    config = ["--config", "configs/vit_space.py", "--workdir", str(workdir)]
    return [sys.executable, "-m", "vintk_jax.search", *config, *SMALL, *overrides]


def search(workdir, *overrides):
    """A search in this process."""
    main(command(workdir, *overrides)[2:])


def search_process(workdir, *overrides):
    """A search in a process of its own, to its end."""
    return subprocess.run(
        command(workdir, *overrides),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def start(workdir, *overrides):
    """A search in a process of its own, running."""
    return subprocess.Popen(
        command(workdir, *overrides),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_candidates(process, workdir, count):
    """Until `count` candidates are written, or the process has ended."""
    path = workdir / "candidates.jsonl"
    deadline = time.time() + 120
    while process.poll() is None and not (path.exists() and path.read_text().count("\n") >= count):
        assert time.time() < deadline
        time.sleep(0.005)


def candidates(workdir):
    return [json.loads(line) for line in (workdir / "candidates.jsonl").read_text().splitlines()]


def outcome(workdir):
    """What must not depend on how often a search was killed or by how many processes it was run."""
    rows = {
        (json.dumps(c["arch"]), c["score"], c["params"], c["flops"]) for c in candidates(workdir)
    }
    assert (
        len(rows)
        == len(candidates(workdir))
        == len({json.dumps(c["arch"]) for c in candidates(workdir)})
    )
    return rows, json.loads((workdir / "best.json").read_text())
