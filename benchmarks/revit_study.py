"""A ReViT against plain ViTs trained at one of its lengths alone: same steps, same seeds.

    python -m benchmarks.revit_study --source npz:../shared/data/cifar10/cifar10_subset.npz --epochs 8 --seeds 3

Each training is the command `vintk_jax.train` on configs/revit_cifar10.py in a workdir of its own, and its accuracies are written to
benchmarks/results/revit_study.json when it ends, so a study that was stopped goes on. Prints accuracy by length over the seeds that are complete, and
the paired difference with Student's 95% interval.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks import common

SIDES = (8, 6, 4)


def train(arguments: argparse.Namespace, workdir: Path, lengths: tuple[int, ...], seed: int) -> dict[str, float]:
    """Accuracy by length at the end of one training."""
    options = {
        "data.source": arguments.source,
        "optimizer.epochs": float(arguments.epochs),
        "checkpoints.every_epochs": float(arguments.epochs) / 4,
        "model.lengths": lengths,
        "model.patch_size": 8 if len(lengths) > 1 else 0,
        "seed": seed,
    }
    flags = [f"--config.{name}={value}" for name, value in options.items()]
    command = [sys.executable, "-m", "vintk_jax.train", "--config", "configs/revit_cifar10.py", "--workdir", str(workdir), *flags]
    subprocess.run(command, cwd=common.ROOT, check=True)
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [line["accuracy"] for line in lines if "accuracy" in line][-1]


def interval(differences: np.ndarray) -> tuple[float, float, float]:
    """Mean and Student's 95% interval over seeds; without end for one seed."""
    mean, count = float(differences.mean()), len(differences)
    if count < 2:
        return mean, -np.inf, np.inf
    half = stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half


class Results:
    """What was measured under the same arguments, kept in a file."""

    def __init__(self, path: Path, arguments: dict):
        self._path, self._arguments = path, arguments
        before = json.loads(path.read_text()) if path.exists() else {}
        self.accuracy = before["accuracy"] if before.get("arguments") == arguments else {}

    def add(self, name: str, accuracy: dict[str, float]) -> None:
        """Keep one training's accuracies."""
        self.accuracy[name] = accuracy
        common.write_json(self._path, {"machine": common.machine(), "arguments": self._arguments, "accuracy": self.accuracy})


def print_found(title: str, accuracy: dict[str, dict[str, float]], seeds: int) -> None:
    """A row a length, over the seeds of which everything was trained."""
    complete = [seed for seed in range(seeds) if f"revit-{seed}" in accuracy and all(f"plain-{side}-{seed}" in accuracy for side in SIDES)]
    rows = []
    for side in SIDES:
        name = str(side**2)
        ours = np.array([accuracy[f"revit-{seed}"][name] for seed in complete]) * 100
        twins = np.array([accuracy[f"plain-{side}-{seed}"][name] for seed in complete]) * 100
        mean, low, high = interval(ours - twins)
        rows.append([name, f"{ours.mean():.2f}", f"{twins.mean():.2f}", f"{mean:+.2f}", f"({low:+.2f}, {high:+.2f})"])
    common.print_table(
        f"{title}, {len(complete)} seed(s): accuracy in percent", ["tokens", "ReViT", "plain ViT", "difference", "95%"], rows
    )


def main() -> None:
    """Train what isn't trained, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="tfds:cifar10", help="as data.source")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/revit_study"))
    arguments = parser.parse_args()
    images = arguments.source.rsplit("/", 1)[-1]
    results = Results(common.RESULTS / "revit_study.json", {"images": images, "epochs": arguments.epochs})
    for seed in range(arguments.seeds):
        for name, sides in {f"revit-{seed}": SIDES, **{f"plain-{side}-{seed}": (side,) for side in SIDES}}.items():
            if name not in results.accuracy:
                results.add(name, train(arguments, arguments.workdir / name, sides, seed))
        print_found(f"{images}, {arguments.epochs} epochs", results.accuracy, seed + 1)


if __name__ == "__main__":
    main()
