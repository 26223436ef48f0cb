"""Figures of a search, drawn into matplotlib axes."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vintk_jax.report.describe import best_first, human_score, is_number, lists, shorten, word
from vintk_jax.report.style import INK, MUTED, PAPER, RAMP, STAR, colour_ramp
from vintk_jax.scored_candidate import ScoredCandidate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

MOST_VECTOR_POINTS = 1500
# of the trace; what is below, zeros and rounding below zero among it, is drawn here
SMALLEST_EIGENVALUE = 1e-10
MOST_COLOURS = 4
MOST_LABELLED_BLOCKS = 32
LONGEST_LABEL = 8  # characters of a label that stands upright in a bar or over it
ROOM = 56  # characters that fit side by side across a figure


def draw_scores(axes: "Axes", candidates: Sequence[ScoredCandidate], pareto: Sequence[int]) -> None:
    """Score against multiply-adds: a dot for each candidate, rings joined in steps for the Pareto
    front, a star for the best.
    """
    scored = [candidate for candidate in candidates if math.isfinite(candidate.score)]
    _dots(axes, scored)
    by_number = {candidate.number: candidate for candidate in candidates}
    front = sorted((by_number[number] for number in set(pareto)), key=_cost)
    axes.plot(
        *_points(front),
        color=INK,
        linewidth=1,
        drawstyle="steps-post",
        marker="o",
        markersize=0,
        label="Pareto front",
    )
    for candidate in front:
        axes.plot(
            *_points([candidate]),
            "o",
            markersize=5.5,
            markerfacecolor="none",
            markeredgecolor=INK,
            gid=f"pareto-{candidate.number}",
        )
    if scored:
        best = _points(best_first(scored)[:1])
        axes.plot(
            *best,
            "*",
            markersize=13,
            color=STAR,
            markeredgecolor=PAPER,
            label="best",
            gid="best",
            linestyle="none",
        )
    axes.set(xlabel="multiply-adds (G)", ylabel="score")
    axes.margins(0.06)
    _legend_above(axes)


def draw_spectra(axes: "Axes", spectra: Mapping[str, Sequence[int | float]]) -> None:
    """Eigenvalues over their sum against their index, a line for each view of the input."""
    for (name, eigenvalues), colour, dashes in zip(
        spectra.items(), colour_ramp(len(spectra)), _line_styles(len(spectra)), strict=True
    ):
        values = np.asarray(eigenvalues, float)
        shares = np.clip(values / (values.sum() or 1.0), SMALLEST_EIGENVALUE, None)
        axes.plot(
            np.arange(1, len(values) + 1),
            shares,
            color=colour,
            linewidth=1.8,
            linestyle=dashes,
            label=name,
            marker="o",
            markersize=2,
        )
    axes.set(xlabel="index", ylabel="eigenvalue / trace", yscale="log")
    axes.yaxis.set_major_formatter(_power_of_ten)
    axes.minorticks_off()
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=min(3, len(spectra)))


def draw_architecture(figure: "Figure | SubFigure", arch: Mapping[str, Any]) -> None:
    """A row for each list of the architecture, a column for each block. Numbers are bars, words are
    cells.
    """
    rows = lists(arch)
    every_axes = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    below = [*map(len, list(rows.values())[1:]), 0]
    for axes, (name, values), colour, count_below in zip(
        every_axes, rows.items(), colour_ramp(len(rows)), below, strict=True
    ):
        if all(map(is_number, values)) and min(values) >= 0:
            _bars(axes, values, colour)
        else:
            _cells(axes, values)
        axes.set_title(name, color=MUTED)
        axes.set_xlim(0.4, len(values) + 0.6)
        axes.set_yticks([])
        axes.set_xticks(
            range(1, len(values) + 1) if len(values) <= MOST_LABELLED_BLOCKS else [1, len(values)]
        )
        axes.tick_params(length=0, labelsize="small", labelbottom=count_below != len(values))
        axes.spines["left"].set_visible(False)
        axes.grid(False)
    every_axes[-1].set_xlabel("block")


def tooltip(candidate: ScoredCandidate) -> str:
    """What a point of the scatter is."""
    return (
        f"trial {candidate.number}: score {human_score(candidate.score)}, "
        f"{_cost(candidate):.2f} G multiply-adds"
    )


def _dots(axes: "Axes", candidates: Sequence[ScoredCandidate]) -> None:
    options = {
        "s": 13,
        "alpha": 0.75,
        "linewidths": 0,
        "rasterized": len(candidates) > MOST_VECTOR_POINTS,
    }
    depths = [candidate.arch.get("depth") for candidate in candidates]
    if candidates and all(map(is_number, depths)) and len(set(depths)) <= MOST_COLOURS:
        for depth, colour in zip(sorted(set(depths)), colour_ramp(len(set(depths))), strict=True):
            axes.scatter(
                *_points([c for c in candidates if c.arch["depth"] == depth]),
                color=colour,
                label=f"depth {depth}",
                **options,
            )
    elif len({candidate.params for candidate in candidates}) > 1:
        from matplotlib.colors import LinearSegmentedColormap

        ramp = LinearSegmentedColormap.from_list("ramp", RAMP)
        dots = axes.scatter(
            *_points(candidates), c=[c.params / 1e6 for c in candidates], cmap=ramp, **options
        )
        axes.figure.colorbar(dots, ax=axes, label="parameters (M)", aspect=30)
    else:
        axes.scatter(*_points(candidates), color=RAMP[0], label="candidates", **options)


def _legend_above(axes: "Axes") -> None:
    """A legend in two rows: dots in the first, the front and the best in the second. One row where
    dots need no key. (A legend fills its columns first.)
    """
    handles = axes.get_legend_handles_labels()[0]
    dots = [handle for handle in handles if not hasattr(handle, "get_marker")]
    marks = [handle for handle in handles if hasattr(handle, "get_marker")]
    handles = [handle for pair in itertools.zip_longest(dots, marks) for handle in pair if handle]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1),
        ncols=len(dots) if len(dots) > 1 else 3,
        handlelength=1.2,
    )


def _bars(axes: "Axes", values: Sequence[int | float], colour: str) -> None:
    axes.bar(range(1, len(values) + 1), values, width=0.82, color=colour, alpha=0.85)
    words = [shorten(word(value), LONGEST_LABEL) for value in values]
    upright = max(map(len, words)) > ROOM // len(values)
    axes.set_ylim(0, (max(values) or 1) * (1.8 if upright else 1.25))
    _label(axes, values, words, rotation=90 * upright, va="bottom", xytext=(0, 2))


def _cells(axes: "Axes", values: Sequence[Any]) -> None:
    colours = _colours_by([word(value) for value in values])
    axes.bar(
        range(1, len(values) + 1),
        1,
        width=0.82,
        color=[colours[word(value)] for value in values],
        alpha=0.85,
    )
    room = ROOM // len(values)
    words = [shorten(word(value), max(room, LONGEST_LABEL)) for value in values]
    _label(
        axes,
        [0.5] * len(values),
        words,
        rotation=90 * (max(map(len, words)) > room),
        va="center",
        xytext=(0, 0),
    )


def _label(
    axes: "Axes", heights: Sequence[int | float], words: Sequence[str], **options: Any
) -> None:
    if len(words) <= MOST_LABELLED_BLOCKS:
        for block, (height, text) in enumerate(zip(heights, words, strict=True), start=1):
            axes.annotate(
                text,
                (block, height),
                textcoords="offset points",
                ha="center",
                fontsize="small",
                **options,
            )


def _cost(candidate: ScoredCandidate) -> float:
    return candidate.flops / 1e9


def _points(candidates: Sequence[ScoredCandidate]) -> tuple[list[float], list[float]]:
    return [_cost(c) for c in candidates], [c.score for c in candidates]


def _colours_by(words: Sequence[str]) -> dict[str, str]:
    distinct = sorted(set(words))
    return dict(zip(distinct, colour_ramp(len(distinct)), strict=True))


def _line_styles(count: int) -> list[str]:
    return [("-", "--", ":", "-.")[i % 4] for i in range(count)]


def _power_of_ten(value: int | float, position: int | None = None) -> str:
    """The label of a tick, as matplotlib asks for it."""
    exponent = round(math.log10(value)) if value > 0 else 0
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
