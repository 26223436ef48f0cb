"""Adaptive inference over several trainings: accuracy and speed by budget, beside what others reach
in the same time.

    python -m benchmarks.revit_study --config configs/revit_cifar10.py \
      --source npz:../shared/data/cifar10/cifar10_subset.npz
    python -m benchmarks.adaptive_study --config configs/tla_cifar10.py \
      --trained runs/revit_study/revit_cifar10 --batch-sizes 1 32 256
    python -m benchmarks.adaptive_study --config configs/tla_cifar10.py:regions --seeds 1 \
      --trained runs/regions --batch-sizes 1 32 256 --images 3000
    python -m benchmarks.adaptive_picture docs/adaptive_cifar10.png
    python -m benchmarks.adaptive_study --config configs/tla_digits.py \
      --trained runs/revit_study/revit_digits

Runs `assign` once and `infer` at each batch size in the workdirs revit-0, revit-1, ... of a
revit_study, and each beside the plain, smaller ViT in plain-0, plain-1, ..., where there is one;
writes what was measured to benchmarks/results/ as it goes. Prints means over seeds with their range
or interval, the share of the oracle's saving, and where the time goes.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.adaptive_curves import mean_and_range, print_budgets, print_losses, print_plain
from benchmarks.adaptive_plain import plain_beside
from benchmarks.trainings import Kept, command


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def overheads(workdir: Path, config: str, rounds: int = 15) -> dict[str, float]:
    """Shares: of the assigner in the shortest pass (batch 32), of grouping and ordering in the
    whole (batch 64, by the programs run alone).
    """
    import runpy

    from vintk_jax.jax_settings import set_up_training

    set_up_training()
    from vintk_jax.adaptive import assigner_files
    from vintk_jax.adaptive.session import Session
    from vintk_jax.inference.engine import Engine

    path, _, argument = config.partition(":")
    get_config = runpy.run_path(path)["get_config"]
    session = Session.open(workdir, get_config(*filter(None, [argument])), print)
    assigner, calibration = assigner_files.read(session.folder, session.predictor.identity)
    assigner = assigner.at(calibration.choose("assigned", 2.0, np.inf, 0.9))
    plans = session.plans
    shape = session.plans.shape
    images = np.random.default_rng(0).integers(0, 256, (2048, *shape), np.uint8)
    plan = assigner.plan(plans)
    shortest = plans.fixed(plans.names[0])

    def passes(step, batch):
        return [np.asarray(array) for array in step.run(batch)]

    def by_32(step):
        for i in range(0, 512, 32):
            passes(step, images[i : i + 32])

    alone = []
    with_assigner = []
    for _ in range(rounds + 3):  # alternating
        alone.append(_seconds(partial(by_32, shortest.steps[0])))
        with_assigner.append(_seconds(partial(by_32, plan.steps[0])))
    engine = Engine(plan, shape, (64,))
    counts = engine.all(images).passes

    def bare():
        return [
            passes(step, images[:64])
            for step, count in zip(plan.steps, counts)
            for _ in range(-(-count // 64))
        ]

    whole = []
    programs = []
    for _ in range(rounds + 3):
        whole.append(_seconds(partial(engine.all, images)))
        programs.append(_seconds(bare))

    def median(values):
        return statistics.median(values[3:])

    return {
        "assigner": median(with_assigner) / median(alone) - 1,
        "grouping": 1 - median(programs) / median(whole),
    }


def print_found(found: dict[str, Any], seeds: Sequence[int], size: int) -> None:
    """All tables of a size of batch."""
    results = [found[f"{seed}-{size}"] for seed in seeds]
    title = f"{results[0]['dataset']}, {results[0]['images']} images, batch {size}"
    print_budgets(title, results)
    print_losses(title, results)
    beside = [seed for seed in seeds if f"{seed}-{size}-plain" in found]
    if beside:
        print_plain(
            title,
            [found[f"{seed}-{size}"] for seed in beside],
            [found[f"{seed}-{size}-plain"] for seed in beside],
        )
    for kind in ("time", "multiply_adds"):
        shares = mean_and_range([result["captured"][kind] for result in results], ".0%")
        print(f"share of the oracle's saving at the first budget, {kind}: {shares}")


def main() -> None:
    """Measure what isn't measured, print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="configs/tla_digits.py")
    parser.add_argument("--trained", type=Path, default=Path("runs/revit_study/revit_digits"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64])
    parser.add_argument("--max-drop", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each method")
    parser.add_argument("--images", type=int, default=2000, help="of the test images, the first")
    arguments = parser.parse_args()
    path, _, argument = arguments.config.partition(":")
    name = "-".join(filter(None, [Path(path).stem, argument]))
    kept = Kept(
        common.RESULTS / f"adaptive_study-{name}.json",
        {"config": arguments.config, "max_drop": arguments.max_drop},
    )
    for seed in range(arguments.seeds):
        workdir = arguments.trained / f"revit-{seed}"
        if f"{seed}-overheads" not in kept.found:
            command("assign", arguments.config, workdir, **{"budget.max_drop": 2.0})
            kept.add(f"{seed}-overheads", overheads(workdir, arguments.config))
        for size in arguments.batch_sizes:
            if f"{seed}-{size}" not in kept.found:
                options = {
                    "budget.max_drop": arguments.max_drop,
                    "data.batch_size": size,
                    "engine.batch_sizes": (1,),
                }
                options |= {"compare.rounds": arguments.rounds, "compare.images": arguments.images}
                command("infer", arguments.config, workdir, **options)
                kept.add(f"{seed}-{size}", json.loads((workdir / "adaptive.json").read_text()))
            name_of_plain = f"{seed}-{size}-plain"
            plain = arguments.trained / f"plain-{seed}"
            if plain.exists() and name_of_plain not in kept.found:
                found = plain_beside(plain, workdir, size, arguments.images, arguments.rounds)
                kept.add(name_of_plain, found)
    for size in arguments.batch_sizes:
        print_found(kept.found, range(arguments.seeds), size)
    for what in ("assigner", "grouping"):
        shares = [kept.found[f"{seed}-overheads"][what] for seed in range(arguments.seeds)]
        print(f"{what}: {', '.join(f'{share:+.1%}' for share in shares)}")


if __name__ == "__main__":
    main()
