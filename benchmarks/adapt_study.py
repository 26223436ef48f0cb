"""What `adapt` has found beside a DeiT-shaped ReViT: of the same multiply-adds, trained for the
same time, by the same recipe.

    python -m benchmarks.adapt_study --workdir runs/mine

The workdir is that of a finished `python -m vintk_jax.adapt`. The other model has DeiT's shape: 12
blocks of one width, 3 heads, MLPs of 4 times the width, a class token that the classifier reads.
Its width makes its multiply-adds at the longest length nearest to those of the model that was
found. Both models' steps are timed, one after the other and again, and the other model gets as many
passes over the images as take the time of the first. Writes study/ and study.json to the workdir;
goes on after a kill.
"""

import argparse
import bisect
import json
import os
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from vintk_jax.adapting.measuring import Processes
from vintk_jax.adapting.outcomes import interval
from vintk_jax.adapting.plan import Plan, flags
from vintk_jax.adapting.running import environment, run_process
from vintk_jax.command_line import run
from vintk_jax.compile_cache import DEFAULT_CACHE
from vintk_jax.config_files import shipped
from vintk_jax.errors import UserError
from vintk_jax.files import write_json
from vintk_jax.models.vit import ViT
from vintk_jax.multiply_adds import multiply_adds
from vintk_jax.workdir import metrics

DEPTH = 12
HEADS = 3
RATIO = 4.0


def deit_width(plan: Plan, wanted: int) -> int:
    """The width whose multiply-adds at the longest length are nearest to those wanted."""
    values = plan.values["train"]
    side = plan.lengths[0]

    def cost(width: int) -> int:
        model = ViT(
            width,
            (HEADS,) * DEPTH,
            (int(RATIO * width),) * DEPTH,
            head_dim=width // HEADS,
            num_classes=plan.survey.classes,
            patch_size=values["model.patch_size"],
            native_grid=(side, side),
        )
        image = jnp.zeros((1, plan.image_size, plan.image_size, 3))

        def draw(key):
            return model.init(key, image, (side, side))

        def answer(variables, images):
            return model.apply(variables, images, (side, side))

        return multiply_adds(answer, jax.eval_shape(draw, jax.random.key(0)), image)

    def distance(width: int) -> int:
        return abs(cost(width) - wanted)

    widths = range(HEADS, 400, HEADS)
    at_least = bisect.bisect_left(widths, wanted, key=cost)
    return min(widths[max(at_least - 1, 0) : at_least + 1], key=distance)


def study(workdir: Path) -> dict[str, Any]:
    """Both models' accuracies, times and costs.

    Raises:
        UserError: for a workdir of no finished run.
    """
    plan = Plan.read(workdir)
    if plan is None or not (workdir / "adapt.json").exists():
        raise UserError(f"Expected the workdir of a finished adapt, got {workdir}.")
    result = json.loads((workdir / "adapt.json").read_text())
    wanted = result["lengths"][0]["multiply_adds"]
    kept = workdir / "study" / "deit.json"
    found_values = {**plan.values["train"]}
    best = result["found"]["best"]
    if kept.exists():
        deit = json.loads(kept.read_text())
    else:
        width = deit_width(plan, wanted)
        values = {
            **found_values,
            "model.pool": "token",
            "model.embed_dim": width,
            "model.depth": DEPTH,
            "model.num_heads": HEADS,
            "model.mlp_ratio": RATIO,
        }
        machine = Processes(environment(DEFAULT_CACHE), _nothing)
        ours = []
        theirs = []
        for _ in range(2):
            ours.append(machine.step(found_values, best).step_s)
            theirs.append(machine.step(values, None).step_s)
        values["optimizer.epochs"] = round(
            found_values["optimizer.epochs"] * min(ours) / min(theirs), 2
        )
        deit = {"values": values, "width": width, "step_s": [min(ours), min(theirs)]}
        write_json(kept, deit)
    folder = workdir / "study" / "deit"
    words = ["vintk_jax.train", "--config", str(shipped()["revit_digits"])]
    words += ["--workdir", str(folder), *flags(deit["values"])]
    run_process(words, workdir / "study" / "log", environment(DEFAULT_CACHE), _nothing)
    last = [line for line in metrics.read(folder / "metrics.jsonl") if "accuracy" in line]
    longest = max(last[0]["accuracy"], key=int)
    tests = plan.survey.counts["test"]
    rows = []
    for name, accuracies in (
        ("found", {row["tokens"]: row["accuracy"] for row in result["lengths"]}),
        ("deit", max(last, key=lambda line: line["accuracy"][longest])["accuracy"]),
    ):
        rows.append(
            {
                "model": name,
                "accuracy": accuracies,
                "interval": interval(round(accuracies[longest] * tests), tests),
            }
        )
    return {
        "models": rows,
        "points": 100 * (rows[0]["accuracy"][longest] - rows[1]["accuracy"][longest]),
        "deit_width": deit["width"],
        "multiply_adds": wanted,
        "step_s": deit["step_s"],
        "epochs": [found_values["optimizer.epochs"], deit["values"]["optimizer.epochs"]],
    }


def _nothing() -> None:
    """The log says how far it is."""


def main(argv: list[str]) -> None:
    """Study."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--workdir", type=Path, required=True)
    workdir = parser.parse_args(argv[1:]).workdir
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    found = study(workdir)
    write_json(workdir / "study.json", found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    run(main, sys.argv)
