"""Does the search pay? Architectures that fit one limit of multiply-adds, chosen in several ways, then trained alike on CIFAR-10.

    python -m benchmarks.search_pays --source npz:../shared/data/cifar10/cifar10_subset.npz --epochs 8 --seeds 2

Compared: what ViNTK's search finds, what the same search finds by DSS (TF-TAS), the most parameters that fit, and two drawn at random. Searches and
trainings are the commands of this library in workdirs of their own, so a study that was stopped goes on. Prints accuracy beside search
time; writes benchmarks/results/search_pays.json.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.cifar_space import MINI

SPACE = "benchmarks.cifar_space:MINI"
LIMIT_M = 100.0  # multiply-adds at 224 px, in millions: about the middle of the space


def command(name: str, config: str, workdir: Path, **options: Any) -> None:
    """Run a command of the library."""
    flags = [f"--config.{field}={value}" for field, value in options.items()]
    subprocess.run(
        [sys.executable, "-m", f"vintk_jax.{name}", "--config", f"configs/{config}.py", "--workdir", str(workdir), *flags],
        cwd=common.ROOT,
        check=True,
    )


def searched(workdir: Path, score: str, candidates: int) -> tuple[dict[str, Any], float]:
    """The best architecture by a score under the limit, and the seconds that it took (those of an earlier run if it is finished)."""
    clock = workdir / "seconds.json"
    start = time.perf_counter()
    options = {"space": SPACE, "score.name": score, "search.num_candidates": candidates, "limits.max_flops_m": LIMIT_M}
    command("search", "vit_space", workdir, **options)
    if not clock.exists():
        clock.write_text(json.dumps(time.perf_counter() - start))
    return json.loads((workdir / "best.json").read_text())["arch"], json.loads(clock.read_text())


def fitting(count: int, seed: int) -> list[Any]:
    """Architectures under the limit, drawn at random."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        arch = MINI.sample(rng)
        if MINI.cost(arch).flops <= LIMIT_M * 1e6:
            found.append(arch)
    return found


def main() -> None:
    """Search, train what isn't trained, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="tfds:cifar10", help="as data.source")
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workdir", type=Path, default=Path("runs/search_pays"))
    arguments = parser.parse_args()
    chosen = {name: searched(arguments.workdir / name, name, arguments.candidates) for name in ("vintk", "dss")}
    largest = max(fitting(5000, 1), key=lambda arch: MINI.cost(arch).params)
    chosen["most parameters"] = (MINI.to_json(largest), 0.0)
    chosen |= {f"random {i}": (MINI.to_json(arch), 0.0) for i, arch in enumerate(fitting(2, 0))}
    rows, found = [], []
    for name, (arch, seconds) in chosen.items():
        best = arguments.workdir / f"{name.replace(' ', '-')}.json"
        best.write_text(json.dumps({"space": SPACE, "arch": arch}))
        accuracies = []
        for seed in range(arguments.seeds):
            workdir = arguments.workdir / f"{best.stem}-{seed}"
            options = {"data.source": arguments.source, "model.arch": best, "model.lengths": (8,), "model.patch_size": 0, "seed": seed}
            command("train", "revit_cifar10", workdir, **options, **{"optimizer.epochs": float(arguments.epochs)})
            lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
            accuracies.append([line["accuracy"]["64"] for line in lines if "accuracy" in line][-1])
        cost = MINI.cost(MINI.from_json(arch))
        found.append(
            {"choice": name, "arch": arch, "accuracies": accuracies, "search_s": seconds, "params": cost.params, "flops": cost.flops}
        )
        spread = ", ".join(f"{value:.2%}" for value in accuracies)
        rows.append([name, spread, f"{np.mean(accuracies):.2%}", f"{cost.params / 1e6:.2f}", f"{cost.flops / 1e6:.0f}", f"{seconds:.0f}"])
        print(json.dumps(found[-1]), flush=True)
    headings = ["choice", "by seed", "mean", "params (M)", "mult-adds (M)", "search (s)"]
    common.print_table(f"{arguments.source}, {arguments.epochs} epochs: accuracy in percent", headings, rows)
    common.write_json(common.RESULTS / "search_pays.json", {"machine": common.machine(), "limit_m": LIMIT_M, "choices": found})


if __name__ == "__main__":
    main()
