"""The files a search leaves: candidates.jsonl as it goes, best.json and pareto.json at the end."""

import json
import logging
from pathlib import Path
from typing import Any

from vintk_jax.config import write_json
from vintk_jax.errors import UserError
from vintk_jax.files import drop_torn_line, write_atomically

_FIELDS = ("number", "arch", "score", "scores", "params", "flops", "latency_ms", "seconds")


def scored(results: list[dict]) -> list[dict]:
    """One record per scored architecture, by trial number."""
    first: dict[int, dict] = {}
    for result in results:
        if result.get("score") is not None:
            first.setdefault(result["number"], {field: result.get(field) for field in _FIELDS})
    return [first[number] for number in sorted(first)]


def append(workdir: Path, result: dict[str, Any]) -> None:
    """Add one line to candidates.jsonl; the caller holds the workdir's lock."""
    path = workdir / "candidates.jsonl"
    drop_torn_line(path)
    with open(path, "a") as f:
        f.write(json.dumps({field: result.get(field) for field in _FIELDS}) + "\n")


def read(workdir: Path) -> list[dict]:
    """The complete lines of candidates.jsonl; one that is no candidate is left out."""
    return _read(workdir)[0]


def _read(workdir: Path) -> tuple[list[dict], list[bytes]]:
    """The candidates in complete lines of candidates.jsonl, and the lines that are none: torn ones,
    whatever bytes they hold.
    """
    path = workdir / "candidates.jsonl"
    if not path.exists():
        return [], []
    found, other = [], []
    for line in path.read_bytes().split(b"\n")[:-1]:
        candidate = _candidate(line)
        if candidate is not None:
            found.append(candidate)
        elif line.strip():
            other.append(line)
    return found, other


def _candidate(line: bytes) -> dict | None:
    """A line's candidate; None for what isn't an object with a trial's number."""
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError):  # no UTF-8, no JSON, or nested too deep
        return None
    number = found.get("number") if isinstance(found, dict) else None
    return found if isinstance(number, int) and not isinstance(number, bool) else None


def rewrite(workdir: Path, candidates: list[dict]) -> None:
    """Write candidates.jsonl anew, atomically: by trial number, without lines that are no
    candidates, such as a kill has torn; these go to candidates.left_out, and are told of.

    Complete lines stay: those of trials that the storage has lost too.

    Raises:
        UserError: for a file with candidates while the storage has none: it is another search's.
    """
    before, other = _read(workdir)
    if before and not candidates:
        raise UserError(
            f"{workdir} holds {len(before)} scored candidates of another storage, which would be "
            "lost. Choose another --workdir, or search.storage as it was."
        )
    known = {candidate["number"] for candidate in candidates}
    kept = [line for line in before if line["number"] not in known]
    every = sorted([*candidates, *kept], key=lambda candidate: candidate["number"])
    lines = "".join(json.dumps(candidate) + "\n" for candidate in every)
    if other:
        aside = workdir / "candidates.left_out"
        with open(aside, "ab") as file:
            file.write(b"".join(line + b"\n" for line in other))
        logging.getLogger(__name__).warning(
            "%d line(s) of %s are no candidates: they are left out, and kept in %s.",
            len(other),
            workdir / "candidates.jsonl",
            aside.name,
        )
    write_atomically(workdir / "candidates.jsonl", lines.encode())


def best(candidates: list[dict]) -> dict:
    """The highest score; among equals the earliest trial."""
    return min(candidates, key=lambda c: (-c["score"], c["number"]))


def pareto(candidates: list[dict]) -> list[dict]:
    """Candidates that no other beats in both score and multiply-adds, cheapest first."""
    front: list[dict] = []
    for candidate in sorted(candidates, key=lambda c: (c["flops"], -c["score"], c["number"])):
        if not front or candidate["score"] > front[-1]["score"]:
            front.append(candidate)
    return front


def write(
    workdir: Path,
    candidates: list[dict],
    *,
    space: str,
    seed: int,
    score: str,
    limits: dict,
    digest: str,
) -> tuple[dict, list[dict]]:
    """Write best.json and pareto.json; the seed, limits and config digest say what search they come
    from.
    """
    origin = {"seed": seed, "score_name": score, "limits": limits, "config": digest}

    def shown(c):
        return {
            k: c[k] for k in ("arch", "score", "scores", "params", "flops", "latency_ms", "number")
        }

    winner, front = best(candidates), pareto(candidates)
    write_json(workdir / "best.json", {"space": space, **shown(winner), **origin})
    write_json(
        workdir / "pareto.json", {"space": space, "candidates": [shown(c) for c in front], **origin}
    )
    return winner, front
