"""The best candidates as a table for the terminal."""

import rich.box
from rich.table import Table
from rich.text import Text

from vintk_jax.report.describe import best_first, score_with_spread, summarise


def best_table(candidates: list[dict], count: int = 10) -> Table:
    """The candidates of highest score, best first, readable at 80 columns.

    Args:
        candidates: {"number", "arch", "score", "scores", "params", "flops", "seconds",
            "latency_ms"} each.
        count: Rows at most.
    """
    best = best_first(candidates)[:count]
    with_latency = any(candidate.get("latency_ms") is not None for candidate in best)
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in (
        "#",
        "score",
        "params\n(M)",
        "mult-adds\n(G)",
        *(["latency\n(ms)"] if with_latency else []),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold")
    for rank, candidate in enumerate(best, start=1):
        latency = candidate.get("latency_ms")
        table.add_row(
            str(rank),
            score_with_spread(candidate),
            f"{candidate['params'] / 1e6:.2f}",
            f"{candidate['flops'] / 1e9:.2f}",
            *([f"{latency:.2f}" if latency is not None else "-"] if with_latency else []),
            Text(" ".join(summarise(candidate["arch"]))),
        )
    return table
