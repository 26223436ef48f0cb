"""Does the search pay on `cifar-vit`? What searches by several scores find under one limit of
multiply-adds, trained alike on CIFAR-10.

    python -m benchmarks.cifar_pays --data ../shared/data/cifar10

The training is that of `benchmarks.cifar_table`, for 15 epochs in place of 5. A core trains a model
at a time. What is done is kept in benchmarks/results/cifar_pays.json, and the same command goes on.
"""

import argparse
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.cifar_table import COMMON_M, PARAMS_M, SPACE, in_child, train
from benchmarks.trainings import Kept, command
from vintk_jax import spaces

EPOCHS = 15
CANDIDATES = 200
LIMIT_M = COMMON_M[1]
SCORES = ("vintk", "flops", "vintk_kernel", "root_width", "params")


def searched(score: str, workdir: Path) -> dict[str, Any]:
    """The best architecture by a score under the limits, and the seconds that it took."""
    start = time.perf_counter()
    options = {
        "score.name": score,
        "search.num_candidates": CANDIDATES,
        "limits.max_flops_m": LIMIT_M,
        "limits.max_params_m": PARAMS_M[1],
    }
    command("search", "configs/vit_space.py:cifar", workdir, **options)
    best = json.loads((workdir / "best.json").read_text())
    return {"arch": best["arch"], "search_s": round(time.perf_counter() - start, 1)}


def drawn(count: int) -> list[Any]:
    """Architectures within the limits, drawn at random."""
    space = spaces.get(SPACE)
    rng = np.random.default_rng(1)
    found: list[Any] = []
    while len(found) < count:
        arch = space.sample(rng)
        cost = space.cost(arch)
        if cost.flops <= LIMIT_M * 1e6 and cost.params <= PARAMS_M[1] * 1e6:
            found.append(arch)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the two npz files")
    parser.add_argument("--scores", nargs="*", default=SCORES, choices=SCORES)
    parser.add_argument("--random", type=int, default=2, help="architectures drawn at random")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--workdir", type=Path, default=Path("runs/cifar_pays"))
    parser.add_argument("--one", nargs=2, metavar=("ARCH", "SEED"))
    parser.add_argument("--core", type=int, help="the core that --one runs on")
    return parser.parse_args()


def main() -> None:
    """Search, train what isn't trained, print the table."""
    arguments = _arguments()
    if arguments.one:
        if arguments.core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {arguments.core})
        arch = json.loads(arguments.one[0])
        seed = int(arguments.one[1])
        print(json.dumps(train(arch, seed, arguments.data, EPOCHS)))
        return
    space = spaces.get(SPACE)
    kept = Kept(common.RESULTS / "cifar_pays.json", {"epochs": EPOCHS, "candidates": CANDIDATES})
    for score in arguments.scores:
        if score not in kept.found:
            kept.add(score, searched(score, arguments.workdir / score))
    for i, arch in enumerate(drawn(arguments.random)):
        kept.found.setdefault(f"random {i}", {"arch": space.to_json(arch), "search_s": 0.0})
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    lock = threading.Lock()

    def work(one: tuple[int, str]) -> None:
        seed, name = one
        arch = kept.found[name]["arch"]
        of = ["--data", str(arguments.data.resolve()), "--one", json.dumps(arch)]
        found = in_child("benchmarks.cifar_pays", [*of, str(seed)], cores)
        with lock:
            for other, entry in list(kept.found.items()):
                if entry["arch"] == arch:
                    accuracy = {**entry.get("accuracy", {}), str(seed): found["accuracy"]}
                    kept.add(other, {**entry, "accuracy": accuracy})

    # Searches that found the same architecture share its trainings.
    firsts = {json.dumps(entry["arch"]): name for name, entry in reversed(kept.found.items())}
    left = [
        (seed, name)
        for seed in range(arguments.seeds)
        for name, entry in kept.found.items()
        if firsts[json.dumps(entry["arch"])] == name and str(seed) not in entry.get("accuracy", {})
    ]
    with ThreadPoolExecutor(len(cores)) as pool:
        list(pool.map(work, left))
    rows = []
    for name, entry in kept.found.items():
        cost = space.cost(space.from_json(entry["arch"]))
        values = list(entry["accuracy"].values())
        costs = [f"{cost.params / 1e6:.3f}", f"{cost.flops / 1e6:.1f}", f"{entry['search_s']:.0f}"]
        by_seed = ", ".join(f"{value:.2f}" for value in values)
        rows.append([name, by_seed, f"{np.mean(values):.2f}", *costs])
    common.print_table(
        f"CIFAR-10, {EPOCHS} epochs, at most {LIMIT_M} M multiply-adds: accuracy in percent",
        ["choice", "by seed", "mean", "params (M)", "mult-adds (M)", "search (s)"],
        rows,
    )


if __name__ == "__main__":
    main()
