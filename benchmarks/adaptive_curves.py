"""Curves of accuracy against speed, of what adaptive.json holds, over the seeds of a study: what a
method gains at a speed, and how fast it is at a loss.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from benchmarks import common
from benchmarks.revit_study import interval
from vintk_jax.adaptive.comparison import points_of, reached_at

LOSSES = (0.2, 0.5, 1.0, 2.0)  # points of accuracy
OTHERS = {"fixed": "fixed lengths", "cascade": "cascade", "tome": "ToMe", "evit": "EViT"}


def longest_of(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The entry of the longest length for all images: the first of the fixed ones."""
    return next(entry for entry in entries if entry["name"].startswith("fixed-"))


class Curve(NamedTuple):
    """Settings of one method of one seed, the fastest first.

    Attributes:
        times: of an image; that of the longest length is 1.
        gains: points of accuracy beyond the longest length.
    """

    times: Float[np.ndarray, " n"]
    gains: Float[np.ndarray, " n"]

    @classmethod
    def of(cls, entries: Sequence[Mapping[str, Any]], name: str) -> "Curve":
        """A method of adaptive.json's "methods". The longest length is a setting of each."""
        longest = longest_of(entries)
        times, accuracies = points_of([*entries, {**longest, "name": name}], name)
        return cls(times * longest["images_per_second"], 100 * (accuracies - longest["accuracy"]))

    def gain_at(self, speed: float) -> float:
        """Points gained by the best mixture of settings that is so many times as fast as the
        longest length; NaN where none is.
        """
        reached = reached_at(1 / speed, self.times, self.gains)
        return np.nan if reached is None else reached

    def speed_at(self, loss: float) -> float:
        """Times the longest length's images a second, of the fastest mixture of settings that loses
        at most so many points.
        """
        kept = self.gains >= -loss
        times = [*self.times[kept]]
        for time, gain in zip(self.times[kept], self.gains[kept], strict=True):
            for faster, less in zip(self.times[~kept], self.gains[~kept], strict=True):
                share = (gain + loss) / (gain - less)
                times.append(time + share * (faster - time))
        return 1 / min(times)


def mean_and_range(values: Sequence[float], form: str) -> str:
    """Their mean, the least and the greatest in brackets; "-" for none."""
    if not len(values):
        return "-"
    if len(values) == 1:
        return f"{values[0]:{form}}"
    return f"{np.mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def _mean_and_interval(values: Sequence[float]) -> str:
    """Their mean and Student's 95% interval over seeds."""
    if not len(values):
        return "-"
    mean, low, high = interval(np.array(values))
    return f"{mean:+.2f} ({low:+.2f}, {high:+.2f})" if len(values) > 1 else f"{mean:+.2f}"


def print_budgets(title: str, results: Sequence[Mapping[str, Any]]) -> None:
    """A row a budget: means over seeds, the range of speeds and gains in brackets; beyond others in
    the same time, over the seeds in which they are as fast.
    """
    rows = []
    for budget in dict.fromkeys(
        row["budget"] for result in results for row in result["at_equal_speed"]
    ):
        mine = [
            row for result in results for row in result["at_equal_speed"] if row["budget"] == budget
        ]
        beyond = [
            _mean_and_interval(
                [100 * (row["tla"] - row[other]) for row in mine if row[other] is not None]
            )
            for other in ("random", "cascade", "tome", "evit")
        ]
        speeds = mean_and_range([row["speed"] for row in mine], ".2f")
        gains = mean_and_range([row["gain"] for row in mine], "+.2f")
        rows.append([f"{budget:g}", f"{len(mine)}", speeds, gains, *beyond])
    common.print_table(
        title,
        [
            "may lose",
            "seeds",
            "x longest's images/s",
            "points gained",
            "over random",
            "over cascade",
            "over ToMe",
            "over EViT",
        ],
        rows,
    )


def print_losses(title: str, results: Sequence[Mapping[str, Any]]) -> None:
    """A row for each loss that was measured, by mixtures of settings: how fast each method is, and
    the assigner's share of the oracle's saving of time.
    """
    rows = []
    for loss in LOSSES:
        speeds = {
            name: [Curve.of(result["methods"], name).speed_at(loss) for result in results]
            for name in ("tla", *OTHERS)
        }
        oracle = [min(Curve.of(result["methods"], "oracle").times) for result in results]
        shares = [
            (1 - 1 / speed) / (1 - least)
            for speed, least in zip(speeds["tla"], oracle, strict=True)
        ]
        rows.append(
            [
                f"{loss:g}",
                mean_and_range(speeds["tla"], ".2f"),
                *(mean_and_range(speeds[name], ".2f") for name in OTHERS),
                mean_and_range(shares, ".0%"),
            ]
        )
    common.print_table(
        title, ["lost, as measured", "assigner", *OTHERS.values(), "of the oracle's saving"], rows
    )


def print_plain(
    title: str, results: Sequence[Mapping[str, Any]], plain: Sequence[Mapping[str, float]]
) -> None:
    """The plain models beside the assigner in the same time: a row a seed, and their mean.

    Args:
        results, plain: of the same seeds; of plain models the accuracy, and the times of the
            longest length's images a second.
    """
    rows = []
    differences = []
    for number, (result, other) in enumerate(zip(results, plain, strict=True)):
        alone = 100 * other["accuracy"]
        gained = Curve.of(result["methods"], "tla").gain_at(other["speed"])
        adaptive = 100 * longest_of(result["methods"])["accuracy"] + gained
        differences.append(adaptive - alone)
        cells = [f"{other['speed']:.2f}", f"{alone:.2f}", f"{adaptive:.2f}"]
        rows.append([f"{number + 1}", *cells, f"{adaptive - alone:+.2f}"])
    rows.append(["mean", "", "", "", _mean_and_interval(differences)])
    headings = ["training", "x longest's images/s", "plain ViT (%)", "assigner (%)", "difference"]
    common.print_table(title, headings, rows)
