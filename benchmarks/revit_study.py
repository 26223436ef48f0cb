"""A ReViT against plain ViTs trained at one of its lengths alone: same steps, same seeds.

    python -m benchmarks.revit_study --seeds 1
    python -m benchmarks.revit_study --config configs/revit_cifar10.py \
      --source npz:../shared/data/cifar10/cifar10_subset.npz --epochs 8 --seeds 3

Each training is the command `vintk_jax.train` in a workdir of its own, and its accuracies are
written to benchmarks/results/ when it ends, so a study that was stopped goes on. Prints accuracy by
length over the seeds that are complete, and the paired difference with Student's 95% interval.
"""

import argparse
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks import common
from benchmarks.trainings import Kept, trained


def options_of(arguments: argparse.Namespace, lengths: Sequence[int], seed: int) -> dict[str, Any]:
    """Settings of one training; a plain ViT's patch kernel has its own size."""
    options: dict[str, Any] = {"model.lengths": tuple(lengths), "seed": seed}
    if arguments.source:
        options["data.source"] = arguments.source
    if arguments.epochs:
        options |= {
            "optimizer.epochs": float(arguments.epochs),
            "checkpoints.every_epochs": float(arguments.epochs) / 4,
        }
    if len(lengths) == 1:
        options["model.patch_size"] = 0
    return options


def interval(differences: np.ndarray) -> tuple[float, float, float]:
    """Mean and Student's 95% interval over seeds; without end for one seed."""
    mean = float(differences.mean())
    count = len(differences)
    if count < 2:
        return mean, -np.inf, np.inf
    half = stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count)
    return mean, mean - half, mean + half


def print_found(
    title: str, sides: Sequence[int], accuracy: dict[str, dict[str, float]], seeds: int
) -> None:
    """A row a length, over the seeds of which everything was trained."""
    complete = [
        seed
        for seed in range(seeds)
        if f"revit-{seed}" in accuracy and all(f"plain-{side}-{seed}" in accuracy for side in sides)
    ]
    rows = []
    for side in sides:
        name = str(side**2)
        ours = np.array([accuracy[f"revit-{seed}"][name] for seed in complete]) * 100
        twins = np.array([accuracy[f"plain-{side}-{seed}"][name] for seed in complete]) * 100
        mean, low, high = interval(ours - twins)
        rows.append(
            [
                name,
                f"{ours.mean():.2f}",
                f"{twins.mean():.2f}",
                f"{mean:+.2f}",
                f"({low:+.2f}, {high:+.2f})",
            ]
        )
    common.print_table(
        f"{title}, {len(complete)} seed(s): accuracy in percent",
        ["tokens", "ReViT", "plain ViT", "difference", "95%"],
        rows,
    )


def main() -> None:
    """Train what isn't trained, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/revit_digits.py")
    parser.add_argument("--source", default="", help="as data.source; the config's if empty")
    parser.add_argument("--epochs", type=int, default=0, help="the config's if 0")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/revit_study"))
    arguments = parser.parse_args()
    name = Path(arguments.config).stem
    sides = runpy.run_path(arguments.config)["get_config"]().model.lengths
    of = {
        "config": arguments.config,
        "images": arguments.source.rsplit("/", 1)[-1],
        "epochs": arguments.epochs,
    }
    kept = Kept(common.RESULTS / f"revit_study-{name}.json", of)
    seeds = range(arguments.seeds)
    # first: adaptive_study goes on with them
    wanted = {f"revit-{seed}": (sides, seed) for seed in seeds}
    wanted |= {f"plain-{side}-{seed}": ((side,), seed) for seed in seeds for side in sides}
    for kind, (lengths, seed) in wanted.items():
        if kind not in kept.found:
            kept.add(
                kind,
                trained(
                    arguments.config,
                    arguments.workdir / name / kind,
                    **options_of(arguments, lengths, seed),
                ),
            )
    print_found(name, sides, kept.found, arguments.seeds)


if __name__ == "__main__":
    main()
