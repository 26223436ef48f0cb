"""How long does a command take to begin, once its programs are compiled?

    python -m benchmarks.second_start

Starts a search, a training and a use of the trained model, each several times with one store of
compiled programs, and takes the seconds from the start of the process to its first result: the
first candidate, step, or image. The first start of each compiles; the median of the others is what
waiting costs a user. Each process is stopped as soon as the first result is there.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common

# What says that the first result is there: progress that counts one at least.
FIRST = re.compile(r"\b[1-9][\d,]*/[\d,]+ (?:candidates|steps|images)")
SEARCH = ("search", "--config", "configs/vit_space.py")
TRAIN = ("train", "--config", "configs/revit_digits.py")
INFER = ("infer", "--config", "configs/infer.py")


def seconds_to_first_result(words: tuple[str, ...], store: Path) -> float:
    """Start a command of ours; stop it when its first result is there.

    Raises:
        RuntimeError: if it ends without one, with what it said.
    """
    environment = {**os.environ, "VINTK_COMPILE_CACHE": str(store), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", f"vintk_jax.{words[0]}", *words[1:]]
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=common.ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if FIRST.search(line):
                return time.perf_counter() - start
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    raise RuntimeError(f"{' '.join(command)} ended without a result: {''.join(said)}")


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
    rows, results = [], {}
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
        f"Seconds to the first result; a 2048 x 2048 product at {common.gflops(product):.0f} GFLOP/s",
        ["command", "first start", "later"],
        rows,
    )
    common.write_json(
        common.RESULTS / "second_start.json",
        {"machine": common.machine(), "gflops": common.gflops(product), "seconds": results},
    )


if __name__ == "__main__":
    main()
