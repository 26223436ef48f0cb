"""Candidates a second of a search against the number of processes that share it (launch/local.py).

    python -m benchmarks.processes --processes 1 2 4 --candidates 96 --rounds 3

Every search begins in a new workdir with the same seed and has to end with the same best.json; the
numbers of processes take turns, medians of the rounds. Timed are the whole command (start and
compilation are each process's own) and the candidates alone: from the first process's first claim
to the last result, by the study's own times, over the candidates.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common


def search(processes: int, candidates: int, workdir: Path) -> tuple[float, float, dict]:
    """Seconds of the command, seconds from the first claim to the last result, and best.json."""
    command = [
        sys.executable,
        "-m",
        "vintk_jax.search",
        "--config",
        "configs/vit_space.py",
        "--workdir",
        str(workdir),
    ]
    command += [f"--config.search.num_candidates={candidates}"]
    if processes > 1:
        command = [sys.executable, "launch/local.py", "--processes", str(processes), "--", *command]
    begun = time.perf_counter()
    environment = {**os.environ, "VINTK_COMPILE_CACHE": "off"}
    subprocess.run(command, cwd=common.ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - begun
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend(str(workdir / "journal.log")))
    trials = [
        t
        for study in storage.get_all_studies()
        for t in storage.get_all_trials(study._study_id)
        if t.datetime_complete
    ]
    alone = max(t.datetime_complete for t in trials) - min(t.datetime_start for t in trials)
    return took, alone.total_seconds(), json.loads((workdir / "best.json").read_text())


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--candidates", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    measured: dict[int, list[tuple[float, float]]] = {count: [] for count in arguments.processes}
    best = None
    for _ in range(arguments.rounds):
        for count, found in measured.items():
            with tempfile.TemporaryDirectory() as folder:
                took, alone, chosen = search(count, arguments.candidates, Path(folder) / "search")
            if best is not None and chosen["arch"] != best["arch"]:
                raise SystemExit(
                    f"{count} processes chose {chosen['arch']}, others {best['arch']}."
                )
            best = chosen
            found.append((took, alone))
    runs = {str(count): found for count, found in measured.items()}
    common.write_json(
        common.RESULTS / "processes.json",
        {"machine": common.machine(), "candidates": arguments.candidates, "seconds": runs},
    )
    median = {
        count: [statistics.median(values) for values in zip(*found, strict=True)]
        for count, found in measured.items()
    }
    first = median[arguments.processes[0]]
    common.print_table(
        f"{arguments.candidates} candidates of configs/vit_space.py",
        ["processes", "command, s", "candidates alone, s", "candidates/s", "x the first"],
        [
            [
                str(count),
                f"{took:.0f}",
                f"{alone:.0f}",
                f"{arguments.candidates / alone:.2f}",
                f"{first[1] / alone:.2f}",
            ]
            for count, (took, alone) in median.items()
        ],
    )


if __name__ == "__main__":
    main()
