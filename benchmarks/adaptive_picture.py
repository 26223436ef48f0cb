"""The picture of an adaptive study: points gained against times the longest length's speed, the
mean over seeds and their range as a band.

    python -m benchmarks.adaptive_picture docs/adaptive_cifar10.png
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.adaptive_curves import Curve, longest_of
from vintk_jax.report.adaptive_page import CURVES, DPI
from vintk_jax.report.style import MUTED, PAPER, RAMP, style

SHOWN = (-5.0, 2.0)  # points gained


def _draw(axes: Any, results: list[dict[str, Any]], plain: list[tuple[float, float]]) -> None:
    """The curves of every method, and the plain models."""
    for name, (colour, _, label) in CURVES.items():
        curves = [Curve.of(result["methods"], name) for result in results]
        fastest = min(1 / min(curve.times) for curve in curves)
        speeds = np.linspace(1, fastest, 200)
        gains = np.array([[curve.gain_at(speed) for speed in speeds] for curve in curves])
        axes.plot(speeds, gains.mean(axis=0), color=colour, label=label)
        axes.fill_between(
            speeds, gains.min(axis=0), gains.max(axis=0), color=colour, alpha=0.18, linewidth=0
        )
    if plain:
        axes.plot(
            *zip(*plain, strict=True),
            color=RAMP[2],
            marker="P",
            markersize=9,
            linestyle="none",
            label="a plain, smaller ViT",
        )
    axes.axhline(0, color=MUTED, linestyle=":", linewidth=1)
    axes.set_ylim(SHOWN)
    axes.set(
        xlabel="times the longest length's images a second", ylabel="points of accuracy gained"
    )


def main() -> None:
    """Draw what adaptive_study has kept: a panel for each size of batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path)
    parser.add_argument(
        "--results",
        type=Path,
        default=common.RESULTS / "adaptive_study-tla_cifar10-regions.json",
    )
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 256])
    arguments = parser.parse_args()
    found = json.loads(arguments.results.read_text())["found"]
    from matplotlib.figure import Figure

    with style(font_size=12):
        figure = Figure((14.0, 5.0), DPI, facecolor=PAPER, layout="constrained")
        every = figure.subplots(1, len(arguments.batch_sizes), sharey=True, squeeze=False)[0]
        for axes, size in zip(every, arguments.batch_sizes, strict=True):
            seeds = [name.split("-")[0] for name in found if name.endswith(f"-{size}")]
            results = [found[f"{seed}-{size}"] for seed in seeds]
            plain = []
            for seed, result in zip(seeds, results, strict=True):
                other = found.get(f"{seed}-{size}-plain")
                if other:
                    longest = longest_of(result["methods"])
                    plain.append((other["speed"], 100 * (other["accuracy"] - longest["accuracy"])))
            _draw(axes, results, plain)
            axes.set_title(f"batches of {size}: {len(seeds)} trainings, range as a band")
        every[-1].legend(loc="upper right", fontsize="small")
        arguments.picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(arguments.picture, format="png")
    print(f"written to {arguments.picture}")


if __name__ == "__main__":
    main()
