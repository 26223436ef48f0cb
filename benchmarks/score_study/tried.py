"""What studies of forms share: which rows they look at, and the list of what was tried."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from benchmarks import common
from vintk_jax.ranking.tables import Table

# Of cifar_vit's 60 rows, those that forms are chosen on (docs/score_protocol.md).
HALF = np.random.default_rng(0).permutation(60)[:30]
ROWS = ("first", "second", "all")


def kept_rows(
    table: Table, accuracy: Float[np.ndarray, " rows"], part: str
) -> Bool[np.ndarray, " rows"]:
    """The rows of a part (one of `ROWS`) that have an accuracy."""
    first = np.isin(table.rows, HALF)
    wanted = {"first": first, "second": ~first, "all": np.ones(len(first), bool)}[part]
    return wanted & np.isfinite(accuracy)


def report(
    kind: str, table: Table, part: str, results: Mapping[str, Sequence[float]], show: int
) -> None:
    """Print the best forms by their mean tau over seeds; write all of them, by seed, to
    benchmarks/results/score_KIND-TABLE-PART.json.
    """
    means = {name: np.nanmean(taus) for name, taus in results.items()}
    ranked = [(name, results[name]) for name in sorted(means, key=means.get, reverse=True)]
    rows = [
        [
            name,
            f"{np.nanmean(taus):.3f}",
            f"{np.nanstd(taus):.3f}",
            f"{np.nanmin(taus):.3f}",
            str(len(taus)),
        ]
        for name, taus in ranked
    ]
    headings = ["form", "tau", "deviation", "least", "seeds"]
    common.print_table(f"{table.name}, {part} rows", headings, rows[:show])
    print(f"{len(results)} forms and counts")
    common.write_json(
        common.RESULTS / f"score_{kind}-{table.name}-{part}.json",
        {name: [round(float(tau), 4) for tau in taus] for name, taus in ranked},
    )
