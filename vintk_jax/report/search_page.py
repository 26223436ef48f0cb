"""A search as one web page that needs nothing beside itself."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vintk_jax.report.describe import (
    best_first,
    human_count,
    lists,
    scalars,
    score_with_spread,
    summarise,
)
from vintk_jax.report.figures import (
    draw_architecture,
    draw_scores,
    draw_spectra,
    style,
    to_svg,
    tooltip,
)
from vintk_jax.report.layer_shares import draw_layers
from vintk_jax.report.page import as_yaml, write_page

BEST = 10  # rows of the table
# inches: its letters are as large as the text when it fills a phone, and half as large again at
# full width
FIGURE_WIDTH = 5.2


def write_search_report(
    path: Path,
    *,
    title: str,
    space: str,
    candidates: list[dict],
    pareto: list[int],
    spectra: dict[str, list[float]],
    config: dict,
    seed: int,
    summary: dict[str, str],
    layers: Mapping[str, Float[np.ndarray, "... n n"]] = {},
) -> None:
    """Write the report of a search, in place of an older one if there is one.

    Args:
        path: The HTML file.
        title: Headline.
        space: Name of the search space.
        candidates: What was scored: {"number", "arch", "score", "scores" (one for each seed),
            "params", "flops", "seconds", "latency_ms" (or None)} each.
        pareto: Numbers of the candidates on the Pareto front of score against multiply-adds.
        spectra: Eigenvalues of the best architecture's kernels, largest first, by the name of the
            input's view.
        config: The whole configuration.
        seed: The search's seed.
        summary: Further facts, shown as they are.
        layers: The best architecture's kernel by layer; empty for a score that has no kernels.

    Raises:
        ValueError: there are no candidates.
    """
    if not candidates:
        raise ValueError("A report wants at least one candidate; none came.")
    import markupsafe

    ranked = best_first(candidates)
    best = ranked[0]
    write_page(
        path,
        "search.html.j2",
        title=title,
        space=space,
        seed=seed,
        summary=summary,
        best=_row(best, pareto),
        rows=[_row(candidate, pareto) for candidate in ranked[:BEST]],
        front=[
            _row(candidate, pareto)
            for candidate in sorted(candidates, key=lambda c: c["flops"])
            if candidate["number"] in set(pareto)
        ],
        scored=len(candidates),
        scalars=scalars(best["arch"]),
        arch_json=_json_by_line(best["arch"]),
        config=as_yaml(config),
        figures={
            name: markupsafe.Markup(svg)
            for name, svg in _figures(candidates, pareto, spectra, best["arch"], layers).items()
        },
    )


def _figures(
    candidates: Sequence[dict],
    pareto: Sequence[int],
    spectra: Mapping[str, Sequence[int | float]],
    arch: Mapping[str, Any],
    layers: Mapping[str, Float[np.ndarray, "... n n"]],
) -> dict[str, str]:
    from matplotlib.figure import Figure

    svgs = {"spectra": "", "architecture": "", "layers": ""}
    rows = len(lists(arch))
    tooltips = {
        f"pareto-{c['number']}": tooltip(c) for c in candidates if c["number"] in set(pareto)
    }
    with style(font_size=9.5):
        figure = Figure((FIGURE_WIDTH, 3.9), layout="constrained")
        draw_scores(figure.subplots(), candidates, pareto)
        svgs["scores"] = to_svg(
            figure,
            "scores",
            f"Scatter plot of score against multiply-adds of {len(candidates)} candidates",
            tooltips,
        )
        if spectra:
            figure = Figure((FIGURE_WIDTH, 3.9), layout="constrained")
            draw_spectra(figure.subplots(), spectra)
            svgs["spectra"] = to_svg(
                figure,
                "spectra",
                f"Eigenvalues of the best architecture's kernels: {', '.join(spectra)}",
            )
        if layers:
            figure = Figure((FIGURE_WIDTH, 3.4), layout="constrained")
            draw_layers(figure.subplots(), layers)
            svgs["layers"] = to_svg(
                figure, "layers", "The best architecture's kernel by block and kind of layer"
            )
        if rows:
            figure = Figure((FIGURE_WIDTH, 0.3 + 1.2 * rows), layout="constrained")
            draw_architecture(figure, arch)
            svgs["architecture"] = to_svg(
                figure,
                "architecture",
                "The best architecture block by block: " + " ".join(summarise(arch)),
            )
    return svgs


def _row(candidate: Mapping[str, Any], pareto: Sequence[int]) -> dict[str, Any]:
    latency = candidate.get("latency_ms")
    return {
        "number": candidate["number"],
        "score": score_with_spread(candidate),
        "params": human_count(candidate["params"]),
        "flops": human_count(candidate["flops"]),
        "latency": None if latency is None else f"{latency:.2f} ms",
        "arch": summarise(candidate["arch"]),
        "on_front": candidate["number"] in set(pareto),
    }


def _json_by_line(arch: Mapping[str, Any]) -> str:
    return (
        "{\n"
        + ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(value, default=str)}" for key, value in arch.items()
        )
        + "\n}"
    )
