"""What a training ends with, for the terminal."""

from collections.abc import Mapping

import rich.box
from rich.table import Table


def accuracy_table(accuracy: Mapping[str, float], images: int, split: str) -> Table:
    """The accuracy of every token length."""
    table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tokens", justify="right")
    table.add_column(f"accuracy on {images:,} images of {split}", justify="right")
    for name, value in accuracy.items():
        table.add_row(name, f"{value:.2%}")
    return table


def speed_table(found: Mapping[str, Mapping[str, float]]) -> Table:
    """Accuracy and images a second of every token length; the accuracy is left out where there were no labels."""
    table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("tokens", "accuracy", "images a second"):
        table.add_column(heading, justify="right")
    for name, values in found.items():
        known = values["accuracy"] == values["accuracy"]
        table.add_row(name, f"{values['accuracy']:.2%}" if known else "-", f"{values['images_per_second']:,.0f}")
    return table
