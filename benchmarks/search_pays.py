"""Does the search pay? Architectures that fit one limit of multiply-adds, chosen in several ways,
then trained alike on CIFAR-10.

    python -m benchmarks.search_pays --source npz:../shared/data/cifar10/cifar10_subset.npz \
      --epochs 6 --seeds 2

Compared: what ViNTK's search finds, what the same search finds by DSS (TF-TAS), the most parameters
that fit, and two drawn at random. Searches and trainings are the commands of this library in
workdirs of their own; a study that was stopped goes on. Prints accuracy beside search time; writes
benchmarks/results/search_pays.json.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.cifar_space import MINI
from benchmarks.trainings import Kept, command, trained

SPACE = "benchmarks.cifar_space:MINI"
LIMIT_M = 100.0  # multiply-adds at 224 px, in millions: about the middle of the space


def searched(workdir: Path, score: str, candidates: int) -> dict[str, Any]:
    """The best architecture by a score under the limit, and the seconds that it took."""
    start = time.perf_counter()
    options = {
        "space": SPACE,
        "score.name": score,
        "search.num_candidates": candidates,
        "limits.max_flops_m": LIMIT_M,
    }
    command("search", "configs/vit_space.py", workdir, **options)
    return {
        "arch": json.loads((workdir / "best.json").read_text())["arch"],
        "search_s": round(time.perf_counter() - start, 1),
    }


def fitting(count: int, seed: int) -> list[Any]:
    """Architectures under the limit, drawn at random."""
    rng = np.random.default_rng(seed)
    found = []
    while len(found) < count:
        arch = MINI.sample(rng)
        if MINI.cost(arch).flops <= LIMIT_M * 1e6:
            found.append(arch)
    return found


def _params(arch: Any) -> int:
    return MINI.cost(arch).params


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", default="tfds:cifar10", help="as data.source")
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument(
        "--side", type=int, default=6, help="tokens a side that architectures are trained at"
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workdir", type=Path, default=Path("runs/search_pays"))
    return parser.parse_args()


def main() -> None:
    """Search, train what isn't trained, print the table."""
    arguments = _arguments()
    of = {
        "limit_m": LIMIT_M,
        "candidates": arguments.candidates,
        "epochs": arguments.epochs,
        "side": arguments.side,
    }
    kept = Kept(common.RESULTS / "search_pays.json", of)
    largest = max(fitting(5000, 1), key=_params)
    chosen = {
        "most parameters": largest,
        **{f"random {i}": arch for i, arch in enumerate(fitting(2, 0))},
    }
    for name, arch in chosen.items():
        kept.found.setdefault(name, {"arch": MINI.to_json(arch), "search_s": 0.0})
    for name in ("vintk", "dss"):
        if name not in kept.found:
            kept.add(name, searched(arguments.workdir / name, name, arguments.candidates))
    for seed in range(arguments.seeds):
        for name in list(kept.found):
            entry = kept.found[name]
            best = arguments.workdir / f"{name.replace(' ', '-')}.json"
            best.parent.mkdir(parents=True, exist_ok=True)
            best.write_text(json.dumps({"space": SPACE, "arch": entry["arch"]}))
            if str(seed) not in entry.setdefault("accuracy", {}):
                model = {
                    "model.arch": best,
                    "model.lengths": (arguments.side,),
                    "model.patch_size": 0,
                }
                schedule = {
                    "optimizer.epochs": float(arguments.epochs),
                    "seed": seed,
                    "data.source": arguments.source,
                }
                accuracy = trained(
                    "configs/revit_cifar10.py",
                    arguments.workdir / f"{best.stem}-{seed}",
                    **model,
                    **schedule,
                )
                kept.add(
                    name,
                    {
                        **entry,
                        "accuracy": {**entry["accuracy"], str(seed): next(iter(accuracy.values()))},
                    },
                )
    _print(kept, arguments)


def _print(kept: Kept, arguments: argparse.Namespace) -> None:
    """The table."""
    rows = []
    for name, entry in kept.found.items():
        cost = MINI.cost(MINI.from_json(entry["arch"]))
        values = list(entry["accuracy"].values())
        spread = ", ".join(f"{value:.2%}" for value in values)
        costs = [f"{cost.params / 1e6:.2f}", f"{cost.flops / 1e6:.0f}", f"{entry['search_s']:.0f}"]
        rows.append([name, spread, f"{np.mean(values):.2%}", *costs])
    headings = ["choice", "by seed", "mean", "params (M)", "mult-adds (M)", "search (s)"]
    common.print_table(
        f"CIFAR-10, {arguments.epochs} epochs at {arguments.side**2} tokens: accuracy",
        headings,
        rows,
    )


if __name__ == "__main__":
    main()
