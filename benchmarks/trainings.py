"""Studies made of trainings by the library's own commands: run one, read what it reached, keep
it.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import common


def command(name: str, config: str, workdir: Path, **options: Any) -> None:
    """Run a command of the library; in a workdir that has seen it before, it goes on."""
    flags = [f"--config.{field}={value}" for field, value in options.items()]
    subprocess.run(
        [
            sys.executable,
            "-m",
            f"vintk_jax.{name}",
            "--config",
            config,
            "--workdir",
            str(workdir),
            *flags,
        ],
        cwd=common.ROOT,
        check=True,
    )


def trained(
    config: str, workdir: Path, measure: str = "accuracy", **options: Any
) -> dict[str, float]:
    """The measure by length at the end of one training."""
    command("train", config, workdir, **options)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line[measure] for line in lines if measure in line][-1]


class Kept:
    """What was measured under the same arguments, in a file that is written after each measurement:
    studies take hours and are stopped.
    """

    def __init__(self, path: Path, arguments: dict[str, Any]):
        self._path = path
        self._arguments = json.loads(json.dumps(arguments))
        before = json.loads(path.read_text()) if path.exists() else {}
        self.found: dict[str, Any] = (
            before["found"] if before.get("arguments") == self._arguments else {}
        )

    def add(self, name: str, value: Any) -> None:
        """Keep one measurement."""
        self.found[name] = value
        common.write_json(
            self._path,
            {"machine": common.machine(), "arguments": self._arguments, "found": self.found},
        )
