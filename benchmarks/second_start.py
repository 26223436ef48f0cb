"""How long does a command take to begin, once its programs are compiled?

    python -m benchmarks.second_start

Starts a search, a training and a use of the trained model, each several times with one store of
compiled programs, and takes the seconds from the start of the process to its first result: the
first candidate, step, or image. The first start of each compiles; the median of the others is what
waiting costs a user. Each process is stopped as soon as the first result is there.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common

# Run in place of `python -m vintk_jax.NAME`: ends the process at the first result.
CHILD = """
import os, runpy, sys
from vintk_jax.report.progress import Progress

def update(self, done, *more, **named):
    if done > self.done:
        print("first result", flush=True)
        os._exit(0)

Progress.update = update
runpy.run_module(f"vintk_jax.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
"""
SEARCH = ("search", "--config", "configs/vit_space.py")
TRAIN = ("train", "--config", "configs/revit_digits.py")
INFER = ("infer", "--config", "configs/infer.py")


def seconds_to_first_result(words: tuple[str, ...], store: Path) -> float:
    """Start a command of ours; it ends when its first result is there.

    Raises:
        RuntimeError: if it ends without one, with what it said.
    """
    environment = {**os.environ, "VINTK_COMPILE_CACHE": str(store)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *words],
        cwd=common.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if "first result" not in done.stdout:
        raise RuntimeError(f"{' '.join(words)} ended without a result: {done.stdout}{done.stderr}")
    return seconds


def main() -> None:
    """Time all three; print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="starts after the first")
    parser.add_argument("--trained", type=Path, help="workdir of a trained model, for infer")
    arguments = parser.parse_args()
    commands = {"search, first candidate": SEARCH, "train, first step": TRAIN}
    if arguments.trained:
        trained = ("--workdir", str(arguments.trained.resolve()))
        commands["infer, first image"] = (*INFER, *trained)
    rows = []
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, words in commands.items():
            found = []
            for i in range(arguments.rounds + 1):
                own = () if "infer" in name else ("--workdir", f"{folder}/{words[0]}-{i}")
                found.append(seconds_to_first_result((*words, *own), Path(folder) / "store"))
            results[name] = found
            median = statistics.median(found[1:])
            rows.append([name, f"{found[0]:.1f}", f"{median:.1f}"])
    product = common.alternate({"product": common.matrix_product()}, 5)["product"].median_s
    common.print_table(
        f"Seconds to the first result (a product at {common.gflops(product):.0f} GFLOP/s)",
        ["command", "first start", "later"],
        rows,
    )
    common.write_json(
        common.RESULTS / "second_start.json",
        {"machine": common.machine(), "gflops": common.gflops(product), "seconds": results},
    )


if __name__ == "__main__":
    main()
