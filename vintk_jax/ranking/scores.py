"""Scores of a table's architectures, kept line by line, so that a killed run can go on.

One line of scores.jsonl is one architecture under one seed: {"row", "seed", "arch", "scores":
{proxy: value}, "seconds": {measurement: value}, "peak_bytes": {measurement: value}}. The value of a
proxy that is joined over architectures is a list. Seeds count from the config's, which is 0 here.
Accuracies are not read here.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.files import write_atomically
from vintk_jax.proxies import Proxy
from vintk_jax.proxies.scorer import Scorer, score
from vintk_jax.ranking.tables import Table

Key = tuple[int, int]  # row, seed


def read(path: Path) -> dict[Key, dict]:
    """What is scored already. A last line that a kill has torn is dropped."""
    if not path.exists():
        return {}
    lines = path.read_text().split("\n")[:-1]
    try:
        records = [json.loads(line) for line in lines]
        return {(record["row"], record.get("seed", 0)): record for record in records}
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds a line that isn't a score ({error}). Move the file away to score anew."
        ) from error


def finished(path: Path, table: Table) -> dict[Key, dict]:
    """The records that are of this table: a row whose architecture has been edited since is scored
    anew.
    """
    now = {
        row: table.space.to_json(arch) for row, arch in zip(table.rows, table.archs, strict=True)
    }
    return {
        (row, seed): record
        for (row, seed), record in read(path).items()
        if now.get(row, record["arch"]) == record["arch"]
    }


def score_all(
    path: Path,
    table: Table,
    proxies: Sequence[Proxy],
    make_scorers: Callable[[int], dict[str, Scorer]],
    report: Callable[[int], None],
    phase: Callable[[str], None],
    seeds: int = 1,
) -> list[list[dict]]:
    """Score what isn't scored yet. Returns, by seed, the records of all rows of the table, in its
    order.

    Args:
        path: scores.jsonl.
        make_scorers: from a seed to a scorer for each measurement that the proxies need, so that
            each one's time is known.
        report: called with the number of finished architectures, of all seeds together.
        phase: called with what goes on.
        seeds: how many.

    Raises:
        UserError: naming the architecture, when a measurement or a score is not finite; what is
            finished is kept.
    """
    done = finished(path, table)
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in done.values()).encode())
    wanted = [(row, seed) for seed in range(seeds) for row in table.rows]
    with open(path, "a") as file:

        def keep(record: dict) -> None:
            file.write(json.dumps(record) + "\n")
            done[record["row"], record["seed"]] = record

        for seed in range(seeds):
            left = [
                (row, arch)
                for row, arch in zip(table.rows, table.archs, strict=True)
                if (row, seed) not in done
            ]
            if not left:
                continue
            phase("compiling" if seed == 0 else f"compiling, seed {seed}")
            scorers = make_scorers(seed)
            for scorer in scorers.values():
                scorer.compile()
            phase("scoring" if seeds == 1 else f"scoring, seed {seed}")
            size = min((scorer.batch_size for scorer in scorers.values()), default=16)
            for start in range(0, len(left), size):
                for record in _score_batch(table, left[start : start + size], proxies, scorers):
                    keep({"row": record["row"], "seed": seed, **record})
                file.flush()
                report(sum(key in done for key in wanted))
    return [[done[row, seed] for row in table.rows] for seed in range(seeds)]


def _score_batch(
    table: Table,
    batch: Sequence[tuple[int, Any]],
    proxies: Sequence[Proxy],
    scorers: dict[str, Scorer],
) -> list[dict]:
    """The records of some rows, without their seed."""
    measured: list[list[dict]] = [[] for _ in batch]
    seconds = {}
    for name, scorer in scorers.items():
        begun = time.perf_counter()
        batch_draws = scorer.measure([arch for _, arch in batch])
        seconds[name] = (time.perf_counter() - begun) / len(batch)
        for of_arch, draws in zip(measured, batch_draws, strict=True):
            of_arch[:] = [
                {**before, **now}
                for before, now in zip(of_arch or [{}] * len(draws), draws, strict=True)
            ]
    return [
        {
            "row": row,
            "arch": table.space.to_json(arch),
            "scores": _scores(table, arch, proxies, of_arch),
            "seconds": seconds,
            "peak_bytes": {name: scorer.peak_bytes for name, scorer in scorers.items()},
        }
        for (row, arch), of_arch in zip(batch, measured, strict=True)
    ]


def _scores(
    table: Table, arch, proxies: Sequence[Proxy], measured: list[dict]
) -> dict[str, float | list[float]]:
    of_seeds = {proxy.name: score(proxy, measured, table.space.to_json(arch)) for proxy in proxies}
    return {name: np.mean(values, axis=0).tolist() for name, values in of_seeds.items()}
