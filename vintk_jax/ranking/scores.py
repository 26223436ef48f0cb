"""Scores of a table's architectures, kept line by line, so that a killed run goes on where it was.

One line of scores.jsonl is one architecture: {"row", "arch", "scores": {proxy: value}, "seconds":
{measurement: value}, "peak_bytes": {measurement: value}}; the value of a proxy that is joined over
architectures is a list. Accuracies are not read here.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.files import write_atomically
from vintk_jax.proxies import Proxy
from vintk_jax.proxies.scorer import Scorer, score
from vintk_jax.ranking.tables import Table


def read(path: Path) -> dict[int, dict]:
    """What is scored already, by row; a last line that a kill has torn is dropped."""
    if not path.exists():
        return {}
    lines = path.read_text().split("\n")[:-1]
    try:
        records = [json.loads(line) for line in lines]
        return {record["row"]: record for record in records}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds a line that isn't a score ({error}). Move the file away to score anew."
        ) from error


def finished(path: Path, table: Table) -> dict[int, dict]:
    """The records that are of this table: a row whose architecture has been edited since is scored
    anew.
    """
    now = {
        row: table.space.to_json(arch) for row, arch in zip(table.rows, table.archs, strict=True)
    }
    return {
        row: record
        for row, record in read(path).items()
        if now.get(row, record["arch"]) == record["arch"]
    }


def score_all(
    path: Path,
    table: Table,
    proxies: Sequence[Proxy],
    make_scorers: Callable[[], dict[str, Scorer]],
    report: Callable[[int], None],
    phase: Callable[[str], None],
) -> list[dict]:
    """Score what isn't scored yet; the records of all rows of the table, in its order.

    Args:
        path: scores.jsonl.
        make_scorers: makes one for each measurement that the proxies need, so that each one's time
            is known.
        report: called with the number of finished architectures.
        phase: called with what goes on.

    Raises:
        UserError: naming the architecture, when a measurement or a score is not finite; what is
            finished is kept.
    """
    done = finished(path, table)
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in done.values()).encode())
    left = [
        (row, arch) for row, arch in zip(table.rows, table.archs, strict=True) if row not in done
    ]
    scorers = {}
    if left:
        phase("compiling")
        scorers = make_scorers()
        for scorer in scorers.values():
            scorer.compile()
    phase("scoring")
    size = min((scorer.batch_size for scorer in scorers.values()), default=16)
    with open(path, "a") as file:
        for start in range(0, len(left), size):
            batch = left[start : start + size]
            measured, seconds = [[] for _ in batch], {}
            for name, scorer in scorers.items():
                begun = time.perf_counter()
                found = scorer.measure([arch for _, arch in batch])
                seconds[name] = (time.perf_counter() - begun) / len(batch)
                for of_arch, seeds in zip(measured, found, strict=True):
                    of_arch[:] = [
                        {**before, **now}
                        for before, now in zip(of_arch or [{}] * len(seeds), seeds, strict=True)
                    ]
            for (row, arch), of_arch in zip(batch, measured, strict=True):
                record = {
                    "row": row,
                    "arch": table.space.to_json(arch),
                    "scores": _scores(table, arch, proxies, of_arch),
                    "seconds": seconds,
                    "peak_bytes": {name: scorer.peak_bytes for name, scorer in scorers.items()},
                }
                file.write(json.dumps(record) + "\n")
                done[row] = record
            file.flush()
            report(sum(row in done for row in table.rows))
    return [done[row] for row in table.rows]


def _scores(
    table: Table, arch, proxies: Sequence[Proxy], measured: list[dict]
) -> dict[str, float | list[float]]:
    of_seeds = {proxy.name: score(proxy, measured, table.space.to_json(arch)) for proxy in proxies}
    return {name: np.mean(values, axis=0).tolist() for name, values in of_seeds.items()}
