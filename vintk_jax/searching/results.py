"""The files a search leaves: candidates.jsonl as it goes, best.json and pareto.json at the end."""

import json
import logging
from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from pathlib import Path

from vintk_jax.errors import UserError
from vintk_jax.files import drop_torn_line, write_atomically, write_json
from vintk_jax.scored_candidate import ScoredCandidate


def scored(trial_results: Iterable[dict]) -> list[ScoredCandidate]:
    """The scored ones among the results of trials, each once, by trial number."""
    first: dict[int, ScoredCandidate] = {}
    for result in trial_results:
        if result.get("score") is not None:
            first.setdefault(result["number"], ScoredCandidate.from_json(result))
    return [first[number] for number in sorted(first)]


def append(workdir: Path, candidate: ScoredCandidate) -> None:
    """Add one line to candidates.jsonl. The caller holds the workdir's lock."""
    path = workdir / "candidates.jsonl"
    drop_torn_line(path)
    with open(path, "a") as file:
        file.write(json.dumps(candidate.to_json()) + "\n")


def read(workdir: Path) -> list[ScoredCandidate]:
    """The candidates in candidates.jsonl. A line that is no candidate is left out."""
    lines, _ = _read_lines(workdir)
    return [ScoredCandidate.from_json(line) for line in lines]


def _read_lines(workdir: Path) -> tuple[list[dict], list[bytes]]:
    """The complete lines of candidates.jsonl: those of candidates, as they are, and all others.

    The others were torn by a kill, and may hold any bytes.
    """
    path = workdir / "candidates.jsonl"
    if not path.exists():
        return [], []
    candidates = []
    others = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        candidate = _parsed(line)
        if candidate is not None:
            candidates.append(candidate)
        elif line.strip():
            others.append(line)
    return candidates, others


def _parsed(line: bytes) -> dict | None:
    """The candidate that a line holds, or None for a line that isn't an object with a number."""
    try:
        value = json.loads(line.decode())
    except (ValueError, RecursionError):  # no UTF-8, no JSON, or nested too deep
        return None
    number = value.get("number") if isinstance(value, dict) else None
    return value if isinstance(number, int) and not isinstance(number, bool) else None


def rewrite(workdir: Path, candidates: Sequence[ScoredCandidate]) -> None:
    """Write candidates.jsonl anew, atomically and by trial number.

    Lines of candidates that the storage has lost stay. Lines that are no candidates, such as a kill
    has torn, go to candidates.left_out, and a warning says so.

    Raises:
        UserError: for a file with candidates while the storage has none: it is another search's.
    """
    before, others = _read_lines(workdir)
    if before and not candidates:
        raise UserError(
            f"{workdir} holds {len(before)} scored candidates of another storage, which would be "
            "lost. Choose another --workdir, or search.storage as it was."
        )
    known = {candidate.number for candidate in candidates}
    every = [candidate.to_json() for candidate in candidates]
    every += [line for line in before if line["number"] not in known]
    every.sort(key=itemgetter("number"))
    lines = "".join(json.dumps(line) + "\n" for line in every)
    if others:
        aside = workdir / "candidates.left_out"
        with open(aside, "ab") as file:
            file.write(b"".join(line + b"\n" for line in others))
        logging.getLogger(__name__).warning(
            "%d line(s) of %s are no candidates: they are left out, and kept in %s.",
            len(others),
            workdir / "candidates.jsonl",
            aside.name,
        )
    write_atomically(workdir / "candidates.jsonl", lines.encode())


def best(candidates: Sequence[ScoredCandidate]) -> ScoredCandidate:
    """The candidate of the highest score. Among equals it is the earliest trial."""
    highest = max(candidate.score for candidate in candidates)
    equals = [candidate for candidate in candidates if candidate.score == highest]
    return min(equals, key=attrgetter("number"))


def pareto(candidates: Sequence[ScoredCandidate]) -> list[ScoredCandidate]:
    """Candidates that no other beats in both score and multiply-adds, cheapest first."""

    def cheapest_first(candidate: ScoredCandidate) -> tuple[int, float, int]:
        return candidate.flops, -candidate.score, candidate.number

    front: list[ScoredCandidate] = []
    for candidate in sorted(candidates, key=cheapest_first):
        if not front or candidate.score > front[-1].score:
            front.append(candidate)
    return front


def write(
    workdir: Path,
    candidates: Sequence[ScoredCandidate],
    *,
    space: str,
    seed: int,
    score: str,
    limits: dict,
    digest: str,
) -> None:
    """Write best.json and pareto.json.

    Args:
        space, seed, score, limits, digest: of the search; they are kept with the candidates. The
            digest is the config's.
    """
    origin = {"seed": seed, "score_name": score, "limits": limits, "config": digest}
    winner = best(candidates).to_result()
    front = [candidate.to_result() for candidate in pareto(candidates)]
    write_json(workdir / "best.json", {"space": space, **winner, **origin})
    write_json(workdir / "pareto.json", {"space": space, "candidates": front, **origin})
