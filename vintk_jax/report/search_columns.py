"""What the table and the page of a search show of each candidate, a line for each column."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from vintk_jax.report.describe import human_count, score_with_spread
from vintk_jax.scored_candidate import ScoredCandidate

Words = Callable[[ScoredCandidate], str | None]


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        name: heading on the page.
        words: the number as the page shows it; None where it was not measured.
        terminal_name, terminal_words: the same for the terminal, where the unit is in the heading.
    """

    name: str
    words: Words
    terminal_name: str
    terminal_words: Words


def _field(name: str, words: Callable[[Any], str]) -> Words:
    """A function that puts one field of a candidate into words."""

    def of_candidate(candidate: ScoredCandidate) -> str | None:
        value = getattr(candidate, name)
        return None if value is None else words(value)

    return of_candidate


def _millions(value: int) -> str:
    return f"{value / 1e6:.2f}"


def _billions(value: int) -> str:
    return f"{value / 1e9:.2f}"


COLUMNS = (
    Column("score", score_with_spread, "score", score_with_spread),
    Column("parameters", _field("params", human_count), "params\n(M)", _field("params", _millions)),
    Column(
        "multiply-adds", _field("flops", human_count), "mult-adds\n(G)", _field("flops", _billions)
    ),
    Column(
        "latency",
        _field("latency_ms", "{:.2f} ms".format),
        "latency\n(ms)",
        _field("latency_ms", "{:.2f}".format),
    ),
)


def columns_of(candidates: Sequence[ScoredCandidate]) -> list[Column]:
    """The columns in which at least one candidate has a number."""
    return [
        column
        for column in COLUMNS
        if any(column.words(candidate) is not None for candidate in candidates)
    ]
