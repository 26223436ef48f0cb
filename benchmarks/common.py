"""What the benchmarks share: time, memory, the machine's facts, results as a table and as JSON.
Imports no array library by itself.
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# PyTorch's threads spin for a while after their last work and would take the next contestant's
# cores
_PAUSE_S = 0.1
_PACKAGES = ("jax", "jaxlib", "flax", "neural-tangents", "torch", "numpy")


class Timing(NamedTuple):
    """One run; processor time well below cores x wall-clock time means idle cores, or cores that
    others held.
    """

    wall_s: float
    cpu_s: float


class Sampled(NamedTuple):
    """All runs of one contestant."""

    runs: list[Timing]

    @property
    def median_s(self) -> float:
        """Median wall-clock time."""
        return statistics.median(run.wall_s for run in self.runs)

    def as_json(self) -> dict[str, Any]:
        """The median and the raw repeats."""
        return {
            "median_s": self.median_s,
            "wall_s": [r.wall_s for r in self.runs],
            "cpu_s": [r.cpu_s for r in self.runs],
        }


def timed(run: Callable[[], Any]) -> tuple[Any, Timing]:
    """The result of one call and the time it took; the call has to wait for its result itself."""
    wall = time.perf_counter()
    cpu = time.process_time()
    result = run()
    return result, Timing(time.perf_counter() - wall, time.process_time() - cpu)


def alternate(
    runs: Mapping[str, Callable[[], Any]], rounds: int | Mapping[str, int]
) -> dict[str, Sampled]:
    """Time contestants in turns, A B C A B C ...; each should have been called once before.

    Args:
        runs: what to call, by contestant.
        rounds: how often, for all or by contestant; who has fewer rounds drops out of the last
            ones.
    """
    wanted = {name: rounds if isinstance(rounds, int) else rounds[name] for name in runs}
    sampled = {name: Sampled([]) for name in runs}
    for i in range(max(wanted.values())):
        for name, run in runs.items():
            if i < wanted[name]:
                time.sleep(_PAUSE_S)
                sampled[name].runs.append(timed(run)[1])
    return sampled


def matrix_product(size: int = 2048) -> Callable[[], Any]:
    """A compiled float32 matrix product in JAX, to be timed like a contestant; it takes 2 size^3
    operations.
    """
    import jax
    import numpy as np

    x = jax.numpy.asarray(np.random.default_rng(0).standard_normal((size, size)), "float32")
    dot = functools.partial(jax.lax.dot, precision="highest")
    product = jax.jit(dot).lower(x, x).compile()

    def run():
        return jax.block_until_ready(product(x, x))

    run()
    return run


def gflops(seconds: float, size: int = 2048) -> float:
    """GFLOP/s of a `matrix_product` that took so long."""
    return 2 * size**3 / seconds / 1e9


def use_all_cores() -> int:
    """Let PyTorch have every core that this process may use, as JAX has; returns their number."""
    import torch

    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    torch.set_num_threads(cores)
    return cores


def peak_resident_bytes() -> int:
    """The greatest resident set of this process so far.

    Linux's VmHWM. getrusage's ru_maxrss would do elsewhere; on Linux it survives exec, so that a
    child starts from its parent's peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(
            int(line.split()[1]) * 1024
            for line in status.read_text().splitlines()
            if line.startswith("VmHWM")
        )
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes() -> int:
    """Memory that this process can still take."""
    import psutil

    return psutil.virtual_memory().available


def child(module: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run `python -m module REQUEST` in a fresh process; its last line of output is the reply, as
    JSON.

    Returns:
        The reply, or {"error": why} where the process failed.
    """
    command = [sys.executable, "-m", module, json.dumps(request)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()
        return {"error": f"exit code {done.returncode}: {last[-1] if last else 'no message'}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    import psutil

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_at_start": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in _PACKAGES
            if importlib.util.find_spec(name.replace("-", "_"))
        },
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def add_cases(parser: argparse.ArgumentParser, count: int) -> None:
    """The argument `--cases` of a benchmark with that many; all by default."""
    parser.add_argument(
        "--cases",
        type=int,
        nargs="*",
        default=list(range(count)),
        help="numbers of the cases to run",
    )


def print_table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1
) -> None:
    """Print a table; all but the first `text_columns` are numbers, to the right. Runs of equal
    first cells become sections.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="left" if i < text_columns else "right")
    for row, following in itertools.zip_longest(rows, rows[1:]):
        table.add_row(*row, end_section=following is not None and following[0] != row[0])
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def write_json(path: Path, value: Any) -> None:
    """Write results where they can be read back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")
    print(f"written to {path}")
