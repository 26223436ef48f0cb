"""The best candidates as a table for the terminal."""

from collections.abc import Sequence

import rich.box
from rich.table import Table
from rich.text import Text

from vintk_jax.report.describe import best_first, summarise
from vintk_jax.report.search_columns import columns_of
from vintk_jax.scored_candidate import ScoredCandidate


def best_table(candidates: Sequence[ScoredCandidate], count: int = 10) -> Table:
    """The candidates of highest score, best first, readable at 80 columns.

    Args:
        candidates: what a search has scored.
        count: rows at most.
    """
    best = best_first(candidates)[:count]
    columns = columns_of(best)
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("#", *(column.terminal_name for column in columns)):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold")
    for rank, candidate in enumerate(best, start=1):
        table.add_row(
            str(rank),
            *(column.terminal_words(candidate) or "-" for column in columns),
            Text(" ".join(summarise(candidate.arch))),
        )
    return table
