"""What a training ends with, for the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.box
from rich.table import Table

from vintk_jax.workdir import metrics

NAMES = {"accuracy": "accuracy", "mean_iou": "mean intersection over union"}


def measure_tables(
    workdir: Path, reached: Mapping[str, float], objective: Any, images: int, split: str
) -> list[Table]:
    """Tables of the measure: of every token length, and of every class where the objective knows
    it.

    Args:
        workdir: with a metrics.jsonl, whose last details by class are shown.
    """
    table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tokens", justify="right")
    table.add_column(f"{NAMES[objective.measure]} on {images:,} images of {split}", justify="right")
    for name, value in reached.items():
        table.add_row(name, f"{value:.2%}")
    details = [
        line
        for line in metrics.read(workdir / "metrics.jsonl")
        if any(key.startswith("by_class_") for key in line)
    ]
    if not details:
        return [table]
    by_class = next(value for key, value in details[-1].items() if key.startswith("by_class_"))
    classes = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    classes.add_column("class")
    classes.add_column("intersection over union", justify="right")
    for name, value in by_class.items():
        classes.add_row(name, f"{value:.2%}")
    return [table, classes]
