"""How well proxies rank, as one web page: a table and a scatter plot of each proxy against each
accuracy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vintk_jax.report.figures import RAMP, STAR, style, to_svg
from vintk_jax.report.page import as_yaml, write_page
from vintk_jax.report.rank_table import HEADINGS, accuracy_names, rank_rows

COLUMNS = 3
SIDE = 2.1  # inches of one plot


def write_rank_report(
    path: Path,
    result: Mapping[str, Any],
    values: Mapping[str, Float[np.ndarray, " architectures"]],
    accuracies: Mapping[str, Float[np.ndarray, " architectures"]],
    config: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        result: what rank.json holds.
        values: scores of the table's architectures by proxy, in its order.
        accuracies: by name, in the same order.
        config: the whole configuration.
    """
    import markupsafe

    sections = []
    for i, name in enumerate(accuracy_names(result)):
        rows = rank_rows(result, name)
        svg = _scatter([row[0] for row in rows], values, accuracies[name], f"accuracy{i}", name)
        sections.append({"name": name, "rows": rows, "figure": markupsafe.Markup(svg)})
    write_page(
        path,
        "rank.html.j2",
        title=f"Scores against trained accuracies: {result['table']}",
        space=result["space"],
        count=result["num_architectures"],
        headings=("proxy", *HEADINGS),
        sections=sections,
        config=as_yaml(config),
    )


def _scatter(proxies: Sequence[str], values, accuracy, prefix: str, name: str) -> str:
    from matplotlib.figure import Figure

    height = -(-len(proxies) // COLUMNS)
    with style(font_size=8):
        figure = Figure((COLUMNS * SIDE, height * SIDE), layout="constrained")
        figure.subplots(height, COLUMNS, squeeze=False)
        for axes, proxy in zip(figure.axes, proxies, strict=False):
            score = values[proxy]
            axes.plot(
                score, accuracy, "o", color=RAMP[0], markersize=2.5, alpha=0.6, markeredgewidth=0
            )
            first = int(np.argmax(np.where(np.isfinite(accuracy), score, -np.inf)))
            axes.plot(score[first], accuracy[first], "*", color=STAR, markersize=9)
            axes.set_title(proxy)
            axes.xaxis.set_major_locator(_few())
        for axes in figure.axes[len(proxies) :]:
            axes.set_visible(False)
        figure.supylabel(f"{name} (%)", fontsize=8)
        return to_svg(
            figure, prefix, f"Scatter plots of {name} against the score of {', '.join(proxies)}"
        )


def _few():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3)
