"""The record of a scored candidate: what the search's loop makes, its files keep, and its table
and page show.

To record something new of every candidate, add a field here and give its value in
`searching.run`. To show it, add a line to `report.search_columns.COLUMNS`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class ScoredCandidate:
    """An architecture of a search with its score and its costs.

    The fields are the keys of a line of candidates.jsonl, in their order.

    Attributes:
        number: of the trial, from 0.
        arch: the architecture as JSON.
        score: the mean of `scores`.
        scores: one for each seed; None in files from before they were kept.
        params: number of parameters.
        flops: multiply-adds of one image (or clip) of the space's `cost_size`.
        latency_ms: milliseconds for one image; None where no limit asks for it.
        seconds: what the scoring took, compiling left out.
    """

    number: int
    arch: dict[str, Any]
    score: float
    scores: list[float] | None = None
    params: int | None = None
    flops: int | None = None
    latency_ms: float | None = None
    seconds: float | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ScoredCandidate":
        """The candidate that a JSON object describes; keys that are no fields are left out."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: values.get(name) for name in names})

    def to_json(self) -> dict[str, Any]:
        """A line of candidates.jsonl."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def to_result(self) -> dict[str, Any]:
        """What best.json and pareto.json say of it: all but the time, and its number last."""
        values = self.to_json()
        values.pop("seconds")
        number = values.pop("number")
        return {**values, "number": number}
