"""What `rank` scored, by half of the table: tau, the difference to the best count and to the
controls on the same rows, what is left with multiply-adds held fixed, and how steady seeds are.

    python -m benchmarks.score_study.confirm --table benchmarks/results/cifar_table.json \
        --workdir runs/rank_cifar --accuracy cifar10 --halves

Intervals are percentiles of a bootstrap over rows and seeds; differences are paired.
"""

import argparse
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float

from benchmarks import common
from benchmarks.score_study.tried import HALF
from vintk_jax.ranking import scores, tables
from vintk_jax.ranking.statistics import kendall_tau, partial_tau

RESAMPLES = 400
Scores = Float[np.ndarray, "seeds rows"]


def read(workdir: Path, rows: tuple[int, ...]) -> dict[str, Scores]:
    """Scores by proxy, a row for each seed."""
    found = scores.read(workdir / "scores.jsonl")
    by_place = {(seed, row): record["scores"] for (row, seed), record in found.items()}
    drawn = sorted({seed for seed, _ in by_place})
    whole = [seed for seed in drawn if all((seed, row) in by_place for row in rows)]
    names = next(iter(by_place.values()))
    return {
        name: np.array([[by_place[seed, row][name] for row in rows] for seed in whole], float)
        for name in names
    }


def mean_tau(scores: Scores, accuracy: np.ndarray) -> float:
    """The mean over seeds."""
    return float(np.mean([kendall_tau(one, accuracy) for one in scores]))


def interval(statistic: Callable[[np.ndarray, np.ndarray], float], shape: tuple[int, int]) -> str:
    """95% of a statistic of (numbers of seeds, numbers of rows)."""
    rng = np.random.default_rng(0)
    seeds, rows = shape
    drawn = [
        statistic(rng.integers(seeds, size=seeds), rng.integers(rows, size=rows))
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return f"({low:.2f}, {high:.2f})"


def table_of(values: dict[str, Scores], accuracy: np.ndarray, against: str) -> list[list[str]]:
    """A row for each proxy."""
    rows = []
    fixed = values["flops"][0][:, None]
    for name, own in values.items():
        other = values[against]
        by_seed = [kendall_tau(one, accuracy) for one in own]

        def tau(seeds, places, own=own):
            return mean_tau(own[seeds][:, places], accuracy[places])

        def beyond(seeds, places, own=own, other=other):
            drawn = accuracy[places]
            more = mean_tau(own[seeds][:, places], drawn)
            return more - mean_tau(other[seeds][:, places], drawn)

        def held(seeds, places, own=own):
            drawn = [
                partial_tau(one, accuracy[places], fixed[places]) for one in own[seeds][:, places]
            ]
            return float(np.nanmean(drawn))

        everyone = (np.arange(len(own)), np.arange(len(accuracy)))
        between = [kendall_tau(a, b) for a, b in combinations(own, 2)]
        rows.append(
            [
                name,
                f"{np.mean(by_seed):.3f} {interval(tau, own.shape)}",
                f"{np.std(by_seed):.3f}",
                f"{min(by_seed):.2f}",
                f"{beyond(*everyone):+.3f} {interval(beyond, own.shape)}"
                if name != against
                else "",
                f"{held(*everyone):+.2f} {interval(held, own.shape)}" if name != "flops" else "",
                f"{np.mean(between):.2f}" if between else "",
            ]
        )
    return sorted(rows, key=lambda row: -float(row[1].split()[0]))


def main() -> None:
    """Print the table of each part and accuracy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", required=True)
    parser.add_argument("--workdir", type=Path, required=True, help="of rank")
    parser.add_argument("--accuracy", nargs="*", help="names; all without it")
    parser.add_argument("--halves", action="store_true", help="cifar_vit's two halves apart")
    parser.add_argument("--against", default="flops", help="what differences are to")
    arguments = parser.parse_args()
    table = tables.load(arguments.table, 0, 0)
    values = read(arguments.workdir, table.rows)
    accuracies = table.accuracies()
    first = np.isin(table.rows, HALF)
    parts = {"all rows": np.ones(len(first), bool)}
    if arguments.halves:
        parts = {"first half": first, "second half": ~first, **parts}
    headings = ["score", "tau", "over seeds", "least", f"- {arguments.against}", "flops held fixed"]
    for name in arguments.accuracy or accuracies:
        for part, keep in parts.items():
            known = keep & np.isfinite(accuracies[name])
            own = {proxy: of[:, known] for proxy, of in values.items()}
            rows = table_of(own, accuracies[name][known], arguments.against)
            title = f"{table.name} {name}, {part}: {known.sum()} rows"
            common.print_table(title, [*headings, "between seeds"], rows)


if __name__ == "__main__":
    main()
