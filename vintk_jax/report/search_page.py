"""A search as one web page that needs nothing beside itself."""

import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vintk_jax.report.describe import best_first, lists, scalars, summarise
from vintk_jax.report.layer_shares import draw_layers
from vintk_jax.report.page import as_yaml, write_page
from vintk_jax.report.search_columns import Column, columns_of
from vintk_jax.report.search_figures import draw_architecture, draw_scores, draw_spectra, tooltip
from vintk_jax.report.style import style
from vintk_jax.report.svg import to_svg
from vintk_jax.scored_candidate import ScoredCandidate

BEST = 10  # rows of the table
# inches: its letters are as large as the text when it fills a phone, and half as large again at
# full width
FIGURE_WIDTH = 5.2


def write_search_report(
    path: Path,
    *,
    title: str,
    space: str,
    candidates: Sequence[ScoredCandidate],
    pareto: Sequence[int],
    spectra: dict[str, list[float]],
    config: dict,
    seed: int,
    summary: dict[str, str],
    layers: Mapping[str, Float[np.ndarray, "... n n"]] = {},
) -> None:
    """Write the report of a search, in place of an older one if there is one.

    Args:
        path: the HTML file.
        title: headline.
        space: name of the search space.
        candidates: what was scored.
        pareto: numbers of the candidates on the Pareto front of score against multiply-adds.
        spectra: eigenvalues of the best architecture's kernels, largest first, by the name of the
            input's view.
        config: the whole configuration.
        seed: the search's seed.
        summary: further facts, shown as they are.
        layers: the best architecture's kernel by layer; empty for a score that has no kernels.

    Raises:
        ValueError: there are no candidates.
    """
    if not candidates:
        raise ValueError("Expected at least one candidate, got none.")
    ranked = best_first(candidates)
    best = ranked[0]
    front = [candidate for candidate in candidates if candidate.number in set(pareto)]
    front.sort(key=attrgetter("flops"))
    write_page(
        path,
        "search.html.j2",
        title=title,
        space=space,
        seed=seed,
        summary=summary,
        best=best,
        headline=[(column.name, column.words(best)) for column in columns_of([best])],
        best_table=_table(ranked[:BEST], pareto),
        front_table=_table(front, pareto),
        scored=len(candidates),
        scalars=scalars(best.arch),
        arch_json=_json_by_line(best.arch),
        config=as_yaml(config),
        figures=_figures(candidates, front, spectra, best.arch, layers),
    )


def _table(candidates: Sequence[ScoredCandidate], pareto: Sequence[int]) -> dict[str, Any]:
    """Headings and rows of a table of candidates, as the template takes them."""
    columns = columns_of(candidates)
    rows = [_row(candidate, columns, pareto) for candidate in candidates]
    return {"headings": [column.name for column in columns], "rows": rows}


def _row(
    candidate: ScoredCandidate, columns: Sequence[Column], pareto: Sequence[int]
) -> dict[str, Any]:
    return {
        "number": candidate.number,
        "cells": [column.words(candidate) or "-" for column in columns],
        "arch": summarise(candidate.arch),
        "on_front": candidate.number in set(pareto),
    }


def _figures(
    candidates: Sequence[ScoredCandidate],
    front: Sequence[ScoredCandidate],
    spectra: Mapping[str, Sequence[int | float]],
    arch: Mapping[str, Any],
    layers: Mapping[str, Float[np.ndarray, "... n n"]],
) -> dict[str, Any]:
    """The page's figures by name, as markup. Empty where there is nothing to draw."""
    import markupsafe

    svgs = {"spectra": "", "architecture": "", "layers": ""}
    with style(font_size=9.5):
        svgs["scores"] = _scores(candidates, front)
        if spectra:
            svgs["spectra"] = _spectra(spectra)
        if layers:
            svgs["layers"] = _layers(layers)
        if lists(arch):
            svgs["architecture"] = _architecture(arch)
    return {name: markupsafe.Markup(svg) for name, svg in svgs.items()}


def _figure(height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure((FIGURE_WIDTH, height), layout="constrained")


def _scores(candidates: Sequence[ScoredCandidate], front: Sequence[ScoredCandidate]) -> str:
    figure = _figure(3.9)
    draw_scores(figure.subplots(), candidates, [candidate.number for candidate in front])
    title = f"Scatter plot of score against multiply-adds of {len(candidates)} candidates"
    tooltips = {f"pareto-{candidate.number}": tooltip(candidate) for candidate in front}
    return to_svg(figure, "scores", title, tooltips)


def _spectra(spectra: Mapping[str, Sequence[int | float]]) -> str:
    figure = _figure(3.9)
    draw_spectra(figure.subplots(), spectra)
    title = f"Eigenvalues of the best architecture's kernels: {', '.join(spectra)}"
    return to_svg(figure, "spectra", title)


def _layers(layers: Mapping[str, Float[np.ndarray, "... n n"]]) -> str:
    figure = _figure(3.4)
    draw_layers(figure.subplots(), layers)
    title = "The best architecture's kernel by block and kind of layer"
    return to_svg(figure, "layers", title)


def _architecture(arch: Mapping[str, Any]) -> str:
    figure = _figure(0.3 + 1.2 * len(lists(arch)))
    draw_architecture(figure, arch)
    title = f"The best architecture block by block: {' '.join(summarise(arch))}"
    return to_svg(figure, "architecture", title)


def _json_by_line(arch: Mapping[str, Any]) -> str:
    """The architecture as JSON, a line for each field."""
    lines = [
        f"  {json.dumps(key)}: {json.dumps(value, default=str)}" for key, value in arch.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}"
