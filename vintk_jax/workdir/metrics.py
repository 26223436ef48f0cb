"""metrics.jsonl and TensorBoard's files, both without a trace of a kill: a resumed run drops what
came after its checkpoint.
"""

import json
from pathlib import Path
from typing import Any

from vintk_jax.files import write_atomically


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a torn last one is dropped."""
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def measures_at(path: Path, measure: str, step: int) -> dict[str, float]:
    """The measure of every length at a step, from a metrics.jsonl; {} where there is none."""
    lines = [line for line in read(path) if measure in line and line["step"] == step]
    return lines[-1][measure] if lines else {}


class Metrics:
    """Writes numbers by step; a context manager.

    Args:
        folder: of metrics.jsonl and tensorboard/.
        step: where the run goes on; later lines are dropped.
        writing: whether this process writes at all.
    """

    def __init__(self, folder: Path, step: int, *, writing: bool = True):
        self._folder = folder
        self._step = step
        self._writing = writing

    def __enter__(self) -> "Metrics":
        if self._writing:
            from tensorboardX import SummaryWriter

            path = self._folder / "metrics.jsonl"
            kept = [line for line in read(path) if line["step"] <= self._step]
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
            self._file = open(path, "a")
            self._board = SummaryWriter(
                str(self._folder / "tensorboard"), purge_step=self._step + 1
            )
        return self

    def __exit__(self, *_) -> None:
        if self._writing:
            self._file.close()
            self._board.close()

    def write(self, step: int, **values: Any) -> None:
        """One line: numbers, and objects of numbers by name."""
        if not self._writing:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            for inner, number in value.items() if isinstance(value, dict) else [("", value)]:
                self._board.add_scalar(f"{name}/{inner}" if inner else name, number, step)
