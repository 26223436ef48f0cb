"""Which frequencies kernels and networks see, as tables, a picture and a page."""

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.box
from rich.table import Table

from vintk_jax.files import write_atomically
from vintk_jax.report.page import as_yaml, write_page
from vintk_jax.report.style import PAPER, RAMP, style

TITLES = {
    "target": "Frequency of the target, along a closed path of images",
    "image": "Frequency of the image, by radial band",
}
MEASURES = {
    "share_in_top": "power in the leading eigenvectors",
    "time_to_halve": "time of kernel regression to learn half",
    "steps_to_halve": "steps of training to learn half",
}
VIEWS = {"plain": "NTK, plain", "fourier": "Fourier features"}
HEADINGS = ("in top vectors", "time to half", "steps to half")
DPI = 100


def rows(experiment: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """(frequency, view, a word for each of `HEADINGS`)."""
    words = []
    for frequency in next(iter(experiment.values()))["frequencies"]:
        for view, of_view in experiment.items():
            numbers = of_view["frequencies"][frequency]
            words.append(
                (
                    frequency,
                    VIEWS.get(view, view),
                    *(_word(numbers, measure) for measure in MEASURES),
                )
            )
    return words


def _word(numbers: Mapping[str, Any], measure: str) -> str:
    value = numbers[measure]
    spread = numbers[f"{measure}_sd"]
    if value is None:
        return "never"
    digits = 2 if measure == "share_in_top" else 1 if value < 10 else 0
    return f"{value:,.{digits}f} ± {spread:,.{digits}f}"


def spectrum_tables(result: Mapping[str, Any]) -> list[Table]:
    """One table for each experiment. `result` is what spectrum.json holds."""
    tables = []
    for name, experiment in result["experiments"].items():
        table = Table(
            title=TITLES[name], title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False
        )
        table.add_column("frequency", no_wrap=True)
        table.add_column("kernel", no_wrap=True)
        for heading in HEADINGS:
            table.add_column(heading, justify="right")
        for row in rows(experiment):
            table.add_row(*row)
        tables.append(table)
    return tables


def _png(result: Mapping[str, Any]) -> bytes:
    from matplotlib.figure import Figure

    with style(font_size=12):
        figure = Figure(
            (15.0, 4.2 * len(result["experiments"])), DPI, facecolor=PAPER, layout="constrained"
        )
        parts = figure.subfigures(len(result["experiments"]), 1, squeeze=False)[:, 0]
        for part, (name, experiment) in zip(parts, result["experiments"].items(), strict=True):
            part.suptitle(TITLES[name], x=0.005, ha="left", fontsize=14, fontweight="bold")
            for axes, (measure, label) in zip(
                part.subplots(1, len(MEASURES)), MEASURES.items(), strict=True
            ):
                _draw(axes, experiment, measure, label)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
    return stream.getvalue()


def _draw(axes, experiment: Mapping[str, Any], measure: str, label: str) -> None:
    for (view, of_view), colour, marker in zip(experiment.items(), RAMP, "os^", strict=False):
        known = [
            (i, f[measure], f[f"{measure}_sd"])
            for i, f in enumerate(of_view["frequencies"].values())
            if f[measure] is not None
        ]
        if known:
            x, y, spread = zip(*known, strict=True)
            axes.errorbar(
                x, y, spread, color=colour, marker=marker, capsize=3, label=VIEWS.get(view, view)
            )
    names = list(next(iter(experiment.values()))["frequencies"])
    axes.set_xticks(range(len(names)), [name.split()[0] for name in names])
    axes.set(xlabel=f"frequency, cycles {' '.join(names[0].split()[1:])}", ylabel=label)
    low, high = axes.dataLim.intervaly
    if measure != "share_in_top" and high > 10 * low > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_tick_label)
        axes.yaxis.set_minor_formatter("")
    else:
        axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", fontsize="small")


def _tick_label(value: int | float, position: int | None = None) -> str:
    """The label of a tick, as matplotlib asks for it."""
    return f"{value:g}" if value < 1e5 else f"{value / 1e6:g} M"


def write_spectrum_picture(path: Path, result: Mapping[str, Any]) -> None:
    """A PNG with a row for each experiment: shares, times of kernel regression and steps of
    training against frequency.
    """
    write_atomically(path, _png(result))


def write_spectrum_page(path: Path, result: Mapping[str, Any]) -> None:
    """The picture and the tables as a page that needs nothing beside itself."""
    sections = [
        {"title": TITLES[name], "rows": rows(experiment)}
        for name, experiment in result["experiments"].items()
    ]
    picture = base64.b64encode(_png(result)).decode()
    write_page(
        path,
        "spectrum.html.j2",
        headings=("frequency", "kernel", *HEADINGS),
        sections=sections,
        picture=picture,
        config=as_yaml(result["config"]),
    )
