"""A ReViT against plain ViTs trained at one of its lengths alone: same steps, same seeds.

    python -m benchmarks.revit_study --source npz:../shared/data/cifar10/cifar10_subset.npz --epochs 12 --seeds 3

Each training is the command `vintk_jax.train` on configs/revit_cifar10.py in a workdir of its own, so a study that was stopped goes on. Prints accuracy
by length, and the paired difference with Student's 95% interval over seeds; writes benchmarks/results/revit_study.json.
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


def main() -> None:
    """Train what isn't trained, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="tfds:cifar10", help="as data.source")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/revit_study"))
    arguments = parser.parse_args()
    found = []
    for seed in range(arguments.seeds):
        resizable = train(arguments, arguments.workdir / f"revit-{seed}", SIDES, seed)
        plain = {str(side**2): train(arguments, arguments.workdir / f"plain-{side}-{seed}", (side,), seed)[str(side**2)] for side in SIDES}
        found.append({"seed": seed, "revit": resizable, "plain": plain})
        print(json.dumps(found[-1]), flush=True)
    rows = []
    for name in (str(side**2) for side in SIDES):
        ours, twins = (np.array([one[kind][name] for one in found]) * 100 for kind in ("revit", "plain"))
        mean, low, high = interval(ours - twins)
        rows.append([name, f"{ours.mean():.2f}", f"{twins.mean():.2f}", f"{mean:+.2f}", f"({low:+.2f}, {high:+.2f})"])
    title = f"{arguments.source}, {arguments.epochs} epochs, {arguments.seeds} seed(s): accuracy in percent"
    common.print_table(title, ["tokens", "ReViT", "plain ViT", "difference", "95%"], rows)
    common.write_json(
        common.RESULTS / "revit_study.json", {"machine": common.machine(), "arguments": vars(arguments) | {"workdir": ""}, "seeds": found}
    )


if __name__ == "__main__":
    main()
