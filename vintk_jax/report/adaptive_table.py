"""Assigners and adaptive inference for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import rich.box
from rich.table import Table

_WORTH = 1.05  # times as fast; below it is what medians of one method differ by


def _table(*headings: str) -> Table:
    table = Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left")
    return table


def label_table(distributions: Mapping[str, Mapping[str, float]]) -> Table:
    """The share of each label, by the images that the labels come from. Images that the model was
    trained on seem easier than they are.
    """
    names = [name for name in next(iter(distributions.values())) if name != "none"]
    table = _table("smallest right length", *(f"{name} tokens" for name in names), "none is right")
    for what, shares in distributions.items():
        table.add_row(what, *(f"{shares[name]:.1%}" for name in (*names, "none")))
    return table


def prediction_table(summary: Mapping[str, Any], rates: Mapping[str, float]) -> Table:
    """What a file of predictions amounts to, and images a second of this run by what was run."""
    table = _table(
        "images", "errors", "accuracy", "share of each length", "images a second, reading included"
    )
    accuracy = "-" if summary["accuracy"] is None else f"{summary['accuracy']:.2%}"
    speeds = ", ".join(f"{name}: {rate:,.0f}" for name, rate in rates.items())
    table.add_row(
        f"{summary['images']:,}",
        f"{summary['errors']:,}",
        accuracy,
        _shares(summary["mix"]),
        speeds,
    )
    return table


def _shares(mix: Mapping[str, float]) -> str:
    return ", ".join(f"{name}: {share:.0%}" for name, share in mix.items())


def comparison_cells(
    entries: Sequence[Mapping[str, Any]],
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headings, and a row a method: accuracy, speed, multiply-adds, and how many images went to
    each length.
    """
    rows = []
    for entry in entries:
        budget = "" if entry["budget"] is None else f"{entry['budget']:g}"
        cells = (
            f"{entry['accuracy']:.2%}",
            f"{entry['images_per_second']:,.0f}",
            f"{entry['flops_per_image'] / 1e6:.2f}",
        )
        rows.append((entry["name"], budget, *cells, _shares(entry["mix"])))
    return (
        "method",
        "may lose",
        "accuracy",
        "images/s",
        "M mult-adds",
        "share of each length",
    ), rows


def comparison_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    """`comparison_cells` for the terminal."""
    headings, rows = comparison_cells(entries)
    table = _table(*headings)
    for row in rows:
        table.add_row(*row)
    return table


def takes_longest(line: Mapping[str, Any]) -> bool:
    """Whether a line of `at_equal_speed` is the longest length for all images: it then has that
    length's time (`comparison.compare`).
    """
    return line["speed"] == 1


def equal_speed_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The assigner at each budget, and what others reach in the same time."""
    table = _table(
        "may lose",
        "x longest's speed",
        "points gained",
        "tla",
        "random mix",
        "cascade",
        "tome",
        "evit",
    )
    for row in rows:
        budget = "any" if row["budget"] is None else f"{row['budget']:g}"
        reached = [
            f"{row[name]:.2%}" if row.get(name) is not None else "-"
            for name in ("tla", "random", "cascade", "tome", "evit")
        ]
        table.add_row(budget, f"{row['speed']:.2f}", f"{row['gain']:+.2f}", *reached)
    return table


def advice(result: Mapping[str, Any]) -> str:
    """Whether adapting pays here, and at which budget: that at which the assigner is farthest above
    fixed lengths in the same time (our choice).

    Args:
        result: what adaptive.json holds.
    """
    name = next(e["name"] for e in result["methods"] if e["name"].startswith("fixed-"))
    longest = f"{name.removeprefix('fixed-')} tokens for all"
    here = f"in batches of {result['batch_size']} on this machine ({result['device']})"
    rows = [row for row in result["at_equal_speed"] if row["budget"] is not None]
    paying = [row for row in rows if row["speed"] >= _WORTH]
    if not paying:
        most = max((row["budget"] for row in rows), default=0)
        return (
            f"Adapting doesn't pay for this model {here}: at no budget up to {most:g} points is "
            f"the assigner faster than {longest}. Take budget.max_drop=0, or a model whose shorter "
            "lengths are nearer its longest."
        )
    best = max(paying, key=_above_fixed)
    line = (
        f"Adapting pays {here}: with budget.max_drop={best['budget']:g} images come "
        f"{best['speed']:.2f} times as fast as with {longest}, at {best['gain']:+.2f} points on "
        f"these {result['images']:,} images."
    )
    if best["random"] is not None:
        line += (
            " Fixed lengths, mixed at random to the same time, reach "
            f"{-100 * _above_fixed(best):+.2f} points beside it."
        )
    if best["cascade"] is not None and best["cascade"] > best["tla"]:
        more = 100 * (best["cascade"] - best["tla"])
        line += f" A cascade by confidence reaches {more:.2f} points more in that time."
    return line


def _above_fixed(row: Mapping[str, Any]) -> float:
    return row["tla"] - (row["random"] if row["random"] is not None else 0.0)


def captured_line(result: Mapping[str, Any]) -> str:
    """The share of the oracle's saving."""
    shares = result["captured"]
    return (
        "Of what an oracle saves against the longest length, the assigner saves "
        f"{shares['time']:.0%} of the time and {shares['multiply_adds']:.0%} of "
        f"the multiply-adds. {result['images']:,} images, batches of {result['batch_size']}, "
        f"{result['device']}; seconds are medians."
    )
