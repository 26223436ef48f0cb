"""How well proxies rank, as one web page: a table and a scatter plot of each proxy against each
accuracy.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vintk_jax.report.page import as_yaml, write_page
from vintk_jax.report.rank_table import HEADINGS, accuracy_names, gain_of, rank_rows
from vintk_jax.report.style import MUTED, RAMP, STAR, style
from vintk_jax.report.svg import to_svg

COLUMNS = 3
SIDE = 2.1  # inches of one plot
COSTS = {"flops": "budgets of multiply-adds", "params": "budgets of parameters"}


def write_rank_report(
    path: Path,
    result: Mapping[str, Any],
    values: Mapping[str, Float[np.ndarray, "seeds architectures"]],
    accuracies: Mapping[str, Float[np.ndarray, " architectures"]],
    config: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        result: what rank.json holds.
        values: scores of the table's architectures by proxy and seed, in its order; the first
            seed's are drawn.
        accuracies: by name, in the same order.
        config: the whole configuration.
    """
    import markupsafe

    sections = []
    for i, name in enumerate(accuracy_names(result)):
        rows = rank_rows(result, name)
        svg = _scatter([row[0] for row in rows], values, accuracies[name], f"accuracy{i}", name)
        gains = _gains([row[0] for row in rows], result, name, f"gain{i}")
        figures = {"figure": markupsafe.Markup(svg), "gains": markupsafe.Markup(gains)}
        sections.append({"name": name, "rows": rows, **figures})
    write_page(
        path,
        "rank.html.j2",
        title=f"Scores against trained accuracies: {result['table']}",
        space=result["space"],
        count=result["num_architectures"],
        seeds=result["seeds"],
        held_fixed=result["held_fixed"],
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
            score = values[proxy][0]
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


def _gains(proxies: Sequence[str], result: Mapping[str, Any], name: str, prefix: str) -> str:
    """For each proxy a dot, with its interval, at the share of the possible gain under a budget."""
    from matplotlib.figure import Figure

    compared = [result["proxies"][proxy]["accuracy"][name] for proxy in proxies]
    with style(font_size=8):
        figure = Figure((COLUMNS * SIDE, 0.8 + 0.17 * len(proxies)), layout="constrained")
        panels = figure.subplots(1, len(COSTS), sharey=True)
        for axes, (cost, title) in zip(panels, COSTS.items(), strict=True):
            axes.axvline(0, color=MUTED, linewidth=0.8)
            for place, proxy in enumerate(compared):
                gain = gain_of(proxy, cost)
                if gain is None:
                    continue
                low, high = proxy["budget_gain"][cost]["ci95"]
                axes.plot([low, high], [place, place], color=RAMP[0], linewidth=1.4)
                axes.plot(gain, place, "o", color=RAMP[0], markersize=4)
            axes.set_title(title)
            axes.set_xlabel("share of the possible gain")
        panels[0].set_yticks(range(len(proxies)), proxies)
        panels[0].invert_yaxis()
        return to_svg(figure, prefix, f"What choosing by each score gains in {name} under a budget")


def _few():
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(3)
