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
