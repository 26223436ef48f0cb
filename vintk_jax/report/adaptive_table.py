"""Assigners and adaptive inference for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import rich.box
from rich.table import Table

from vintk_jax.adaptive.calibration import Calibration


def _table(*headings: str) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left")
    return table


def label_table(distributions: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]) -> Table:
    """The share of each label, by which images they come from: those that the model was trained on look easier than they are."""
    names = list(next(iter(distributions.values())))
    table = _table("smallest right length", *(f"{name} tokens" for name in names))
    for what, shares in distributions.items():
        table.add_row(f"{counts[what]:,} images, {what}", *(f"{shares[name]:.1%}" for name in names))
    return table


def budget_lines(calibration: Calibration, max_drop: int | float, max_cost: int | float, images: int) -> Iterator[str]:
    """What the assigner is expected to come to within a budget."""
    point = calibration.choose("assigned", max_drop, max_cost)
    yield (
        f"Within {max_drop} points and {max_cost:.0%} of the cost: {point.accuracy:.2%} at {point.cost:.1%} of the longest length's multiply-adds; the "
        f"longest alone {calibration.full:.2%} (on the {images:,} images that thresholds were set by: one image is {100 / images:.2f} points)."
    )


def comparison_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """A line a method: accuracy, speed, multiply-adds, and how many images went to each length."""
    table = _table("method", "budget", "accuracy", "images a second", "M multiply-adds", "share of each length")
    for entry in entries:
        mix = ", ".join(f"{name}: {share:.0%}" for name, share in entry["mix"].items())
        budget = "" if entry["budget"] is None else f"{entry['budget']:g} points"
        cells = [f"{entry['accuracy']:.2%}", f"{entry['images_per_second']:,.0f}", f"{entry['flops_per_image'] / 1e6:.2f}", mix]
        table.add_row(entry["name"], budget, *cells)
    return table
