"""A Resizable LV-ViT beside a ViT of its size, which is its teacher: accuracy by length, and what
spending tokens by image gains on each.

    python -m benchmarks.lvvit_study --source npz:../shared/data/cifar10/cifar10_subset.npz \
      --seeds 3
    python -m benchmarks.lvvit_study --train configs/revit_digits.py \
      --assign configs/tla_digits.py --seeds 1

For each seed: `vintk_jax.train` (the ViT with pool=mean, then the LV-ViT taught by it), then
`assign` and `infer` on both. What was measured is written to benchmarks/results/ as it goes, so a
study that was stopped goes on.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.revit_study import interval
from benchmarks.trainings import Kept, command, trained

KINDS = ("vit", "lvvit")


def options_of(arguments: argparse.Namespace, kind: str, seed: int) -> dict[str, Any]:
    """Settings of one training."""
    options: dict[str, Any] = {"seed": seed}
    options |= (
        {"model.pool": "mean"}
        if kind == "vit"
        else {"loss.teacher": str(folder(arguments, "vit", seed))}
    )
    if arguments.source:
        options["data.source"] = arguments.source
    if arguments.epochs:
        options |= {
            "optimizer.epochs": float(arguments.epochs),
            "checkpoints.every_epochs": float(arguments.epochs) / 4,
        }
    return options


def folder(arguments: argparse.Namespace, kind: str, seed: int) -> Path:
    """The workdir of one training."""
    return arguments.workdir.resolve() / Path(arguments.train).stem / f"{kind}-{seed}"


def accuracies(found: dict[str, Any], seeds: list[int]) -> list[list[str]]:
    """A row a length: both kinds' means, and the paired difference."""
    rows = []
    for name in found[f"vit-{seeds[0]}"]:
        ours, theirs = (
            np.array([found[f"{kind}-{seed}"][name] for seed in seeds]) * 100
            for kind in reversed(KINDS)
        )
        mean, low, high = interval(ours - theirs)
        rows.append(
            [
                name,
                f"{ours.mean():.2f}",
                f"{theirs.mean():.2f}",
                f"{mean:+.2f}",
                f"({low:+.2f}, {high:+.2f})",
            ]
        )
    return rows


def curves(found: dict[str, Any], seeds: list[int]) -> list[list[str]]:
    """A row a budget and kind: how many times as fast as its longest length, and the points gained,
    with the range over seeds.
    """
    rows = []

    def spread(values, form):
        return f"{np.mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"

    for kind in KINDS:
        results = [found[f"{kind}-{seed}-adaptive"]["at_equal_speed"] for seed in seeds]
        for budget in dict.fromkeys(row["budget"] for result in results for row in result):
            mine = [row for result in results for row in result if row["budget"] == budget]
            rows.append(
                [
                    kind,
                    f"{budget:g}",
                    spread([row["speed"] for row in mine], ".2f"),
                    spread([row["gain"] for row in mine], "+.2f"),
                ]
            )
    return rows


def main() -> None:
    """Train and measure what isn't yet, print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--train", default="configs/revit_cifar10.py", help="a config that knows :lvvit"
    )
    parser.add_argument("--assign", default="configs/tla_cifar10.py")
    parser.add_argument("--source", default="", help="as data.source; the config's if empty")
    parser.add_argument("--epochs", type=int, default=0, help="the config's if 0")
    parser.add_argument(
        "--rounds",
        type=int,
        default=0,
        help="timed runs of every method in `infer`; the config's if 0",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/lvvit_study"))
    arguments = parser.parse_args()
    name = Path(arguments.train).stem
    of = {
        "config": arguments.train,
        "images": arguments.source.rsplit("/", 1)[-1],
        "epochs": arguments.epochs,
        "rounds": arguments.rounds,
    }
    kept = Kept(common.RESULTS / f"lvvit_study-{name}.json", of)
    for seed in range(arguments.seeds):
        for kind in KINDS:
            workdir = folder(arguments, kind, seed)
            config = arguments.train + (":lvvit" if kind == "lvvit" else "")
            if f"{kind}-{seed}" not in kept.found:
                kept.add(
                    f"{kind}-{seed}", trained(config, workdir, **options_of(arguments, kind, seed))
                )
            if f"{kind}-{seed}-adaptive" not in kept.found:
                timed = {"compare.rounds": arguments.rounds} if arguments.rounds else {}
                for step in ("assign", "infer"):
                    command(step, arguments.assign, workdir, **timed)
                kept.add(
                    f"{kind}-{seed}-adaptive", json.loads((workdir / "adaptive.json").read_text())
                )
    seeds = list(range(arguments.seeds))
    headings = ["tokens", "LV-ViT", "ViT", "difference", "95%"]
    common.print_table(
        f"{name}, {len(seeds)} seed(s): accuracy in percent",
        headings,
        accuracies(kept.found, seeds),
    )
    common.print_table(
        "adaptive, mean (range over seeds)",
        ["model", "may lose", "x longest's", "points"],
        curves(kept.found, seeds),
    )


if __name__ == "__main__":
    main()
