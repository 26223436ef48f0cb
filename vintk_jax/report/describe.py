"""Words for numbers, candidates and architectures, shared by every report."""

import itertools
import json
import math
import statistics
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vintk_jax.scored_candidate import ScoredCandidate

LONGEST_FIELD = 48  # characters of one field in a summary
MOST_LETTERS = 4  # values that a summary writes as letters


def human_count(n: int | float) -> str:
    """Three digits and a prefix: 5_912_345 is '5.91 M'."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= size:
            decimals = max(0, 2 - int(math.log10(n / size)))
            return f"{n / size:,.{decimals}f} {prefix}"
    return f"{n:g}"


def human_score(score: int | float) -> str:
    """Four decimals, or an exponent where decimals would say nothing."""
    return f"{score:.4f}" if score == 0 or 1e-2 <= abs(score) < 1e4 else f"{score:.4e}"


def score_with_spread(candidate: ScoredCandidate) -> str:
    """The score, and the standard deviation over seeds where there were several."""
    seeds = [score for score in candidate.scores or () if math.isfinite(score)]
    score = human_score(candidate.score)
    if len(seeds) < 2:
        return score
    spread = statistics.stdev(seeds)
    if "e" in score:
        return f"{score} ± {spread:.2g}"
    decimals = len(score.partition(".")[2])
    return f"{score} ± {spread:.{decimals}f}"


def best_first(candidates: Sequence[ScoredCandidate]) -> list[ScoredCandidate]:
    """Candidates by score, the highest first. Those whose score isn't a number come last."""
    return sorted(candidates, key=_score_to_sort_by, reverse=True)


def _score_to_sort_by(candidate: ScoredCandidate) -> float:
    return -math.inf if math.isnan(candidate.score) else candidate.score


def fields(arch: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Scalars and lists of an architecture's JSON by dotted name. A list of equal objects becomes a
    list for each of their fields.
    """
    for key, value in arch.items():
        name = f"{prefix}{word(key)}"
        if isinstance(value, Mapping):
            yield from fields(value, f"{name}.")
        elif _is_records(value):
            yield from fields(
                {field: [record[field] for record in value] for field in value[0]}, f"{name}."
            )
        else:
            yield name, value


def lists(arch: Mapping[str, Any]) -> dict[str, list]:
    """The fields that have a value for every block."""
    return {
        name: list(value)
        for name, value in fields(arch)
        if isinstance(value, list | tuple) and value
    }


def scalars(arch: Mapping[str, Any]) -> dict[str, str]:
    """The fields that have one value, in words."""
    return {
        name: word(value) for name, value in fields(arch) if not isinstance(value, list | tuple)
    }


def summarise(arch: Mapping[str, Any]) -> list[str]:
    """The architecture as short pieces: ['embed_dim=192', 'num_heads=3343', 'mlp_ratio=abba
    (a=3.5,b=4)'].
    """
    pieces = (
        f"{name}={_compact(value) if isinstance(value, list | tuple) else word(value)}"
        for name, value in fields(arch)
    )
    return [shorten(piece, LONGEST_FIELD) for piece in pieces]


def shorten(text: str, length: int) -> str:
    """The text, its end replaced by an ellipsis where it is too long."""
    return text if len(text) <= length else text[: length - 1] + "…"


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number (true and false are not)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def word(value: Any) -> str:
    """One value of JSON without spaces around it, line breaks and other control characters
    escaped.
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)[1:-1]
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, default=str)


def _is_records(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and bool(value)
        and all(isinstance(record, Mapping) and set(record) == set(value[0]) for record in value)
    )


def _compact(values: Sequence[Any]) -> str:
    words = [word(value) for value in values]
    if len(set(words)) == 1 and len(words) > 1:
        return f"{words[0]}x{len(words)}"
    if words and all(text.isdigit() and len(text) == 1 for text in words):
        return "".join(words)
    if 0 < len(set(words)) <= MOST_LETTERS and len(words) >= 3 * len(set(words)):
        return _lettered(words, values)
    runs = [(text, len(list(run))) for text, run in itertools.groupby(words)]
    return "[" + ",".join(text if count == 1 else f"{text}x{count}" for text, count in runs) + "]"


def _lettered(words: Sequence[str], values: Sequence[Any]) -> str:
    """A letter for each value, and what the letters mean."""
    distinct = {
        text: value if is_number(value) else math.inf
        for text, value in zip(words, values, strict=True)
    }
    numbers_first = sorted((value, text) for text, value in distinct.items())
    letters = {
        text: letter for (_, text), letter in zip(numbers_first, string.ascii_letters, strict=False)
    }
    key = ",".join(f"{letter}={text}" for text, letter in letters.items())
    return f"{''.join(letters[text] for text in words)} ({key})"
