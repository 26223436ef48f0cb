"""Whole kernels of a table's architectures, by seed and view of the inputs, kept in files.

    python -m benchmarks.score_study.kernels --table benchmarks/results/cifar_table.json --seeds 8

Accuracies are not read. The same command goes on: what is measured is kept every minute.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from vintk_jax.jax_settings import set_up_jax

_EVERY_S = 60.0


def measure(
    path: Path,
    space: Any,
    archs: Sequence[Any],
    view: str,
    batch: np.ndarray,
    classes: int,
    seed: int,
) -> None:
    """Kernels of the architectures that the file doesn't have yet."""
    from vintk_jax.proxies.base import Measurement
    from vintk_jax.proxies.scorer import Scorer
    from vintk_jax.proxies.supernet import KernelSettings, Supernet

    found = list(np.load(path)["kernels"]) if path.exists() else []
    if len(found) == len(archs):
        return
    start = kept_at = time.monotonic()
    before = len(found)
    settings = KernelSettings(num_classes=classes)
    scorer = Scorer(
        Supernet(space, {view: batch}, settings, seed=seed), [Measurement(view, "kernel")]
    )

    def keep() -> None:
        part = path.with_suffix(".part.npz")
        np.savez(part, kernels=np.float32(found))
        part.replace(path)

    while len(found) < len(archs):
        part = archs[len(found) : len(found) + scorer.batch_size]
        found += [of_arch[0][view] for of_arch in scorer.measure(part)]
        if time.monotonic() - kept_at > _EVERY_S:
            keep()
            kept_at = time.monotonic()
    keep()
    seconds = (time.monotonic() - start) / (len(archs) - before)
    print(f"{path}: {seconds:.2f} s an architecture", flush=True)


def main() -> None:
    """Measure what isn't there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", required=True)
    parser.add_argument("--source", default="photos")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--views", default="plain")
    parser.add_argument("--sample", type=int, default=0, help="of the table's rows; 0: all")
    parser.add_argument("--workdir", type=Path, default=Path("runs/score_study"))
    arguments = parser.parse_args()
    set_up_jax("float32")
    from benchmarks.score_study.collect import view_of
    from vintk_jax.data import inputs
    from vintk_jax.ranking import tables

    table = tables.load(arguments.table, arguments.sample, 0)
    source = arguments.source.replace("/", "_")
    rows = f"-{arguments.sample}" if arguments.sample else ""
    inputs_name = f"{source}-{arguments.images}x{arguments.size}{rows}"
    folder = arguments.workdir / f"{table.name}-{inputs_name}"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.seeds):
        for view in arguments.views.split(","):
            batch = inputs.load(arguments.source, arguments.images, arguments.size, seed).images
            batch = view_of(view, batch, seed)
            path = folder / f"{view}-{seed}.npz"
            measure(path, table.space, table.archs, view, batch, arguments.classes, seed)
    print(common.machine()["time"])


if __name__ == "__main__":
    main()
