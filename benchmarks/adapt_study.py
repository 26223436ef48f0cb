"""What `adapt` has found beside other ReViTs of the same multiply-adds, trained for the same time
by the same recipe: one of DeiT's shape, and the plain shape that the search's limit comes from.

    python -m benchmarks.adapt_study --workdir runs/mine

The workdir is that of a finished `python -m vintk_jax.adapt`. DeiT's shape: 12 blocks of one width,
3 heads, MLPs of 4 times the width, a class token that the classifier reads. Its width makes its
multiply-adds at the longest length nearest to those of the model that was found. The plain shape is
the largest of the size in `adapting.rungs`: what a person takes who doesn't search. Steps are timed
in turn, twice, and each model gets as many passes over the images as take the time of the first.
Writes study/ and study.json to the workdir; goes on after a kill.
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
from vintk_jax.adapting.rungs import RUNGS
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


def others_of(plan: Plan, wanted: int) -> dict[str, tuple[dict[str, Any], dict[str, Any] | None]]:
    """Fields of the training of each other model, and its best.json.

    Args:
        wanted: multiply-adds at the longest length.
    """
    values = plan.values["train"]
    deit = {
        **values,
        "model.pool": "token",
        "model.embed_dim": deit_width(plan, wanted),
        "model.depth": DEPTH,
        "model.num_heads": HEADS,
        "model.mlp_ratio": RATIO,
    }
    limit = plan.values["search"]["limits.max_flops_m"]
    others = {"deit": (deit, None)}
    for rung in RUNGS:
        if rung.max_flops_m == limit:
            others["plain"] = (values, rung.best)
    return others


def timed(
    values: dict[str, Any],
    best: dict[str, Any],
    others: dict[str, tuple[dict[str, Any], dict[str, Any] | None]],
) -> dict[str, float]:
    """Seconds of a step of every model, the least of two."""
    machine = Processes(environment(DEFAULT_CACHE), _nothing)
    models = {"found": (values, best), **others}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(2):
        for name, (fields, arch) in models.items():
            seconds[name].append(machine.step(fields, arch).step_s)
    return {name: min(several) for name, several in seconds.items()}


def study(workdir: Path) -> dict[str, Any]:
    """All models' accuracies, times and costs.

    Raises:
        UserError: for a workdir of no finished run that has searched.
    """
    plan = Plan.read(workdir)
    if plan is None or "search" not in plan.values or not (workdir / "adapt.json").exists():
        raise UserError(f"Expected the workdir of a finished adapt, got {workdir}.")
    result = json.loads((workdir / "adapt.json").read_text())
    wanted = result["lengths"][0]["multiply_adds"]
    values = plan.values["train"]
    others = others_of(plan, wanted)
    folder = workdir / "study"
    kept = folder / "step_s.json"
    if not kept.exists():
        write_json(kept, timed(values, result["found"]["best"], others))
    step_s = json.loads(kept.read_text())
    tests = plan.survey.counts["test"]
    epochs = values["optimizer.epochs"]
    found = {row["tokens"]: row["accuracy"] for row in result["lengths"]}
    models = {"found": {"epochs": epochs, "accuracy": found}}
    for name, (fields, best) in others.items():
        fields = {**fields, "optimizer.epochs": round(epochs * step_s["found"] / step_s[name], 2)}
        if best is not None:
            write_json(folder / f"{name}.json", best)
            fields["model.arch"] = str(folder / f"{name}.json")
        words = ["vintk_jax.train", "--config", str(shipped()["revit_digits"])]
        words += ["--workdir", str(folder / name), *flags(fields)]
        run_process(words, folder / f"{name}.log", environment(DEFAULT_CACHE), _nothing)
        lines = metrics.read(folder / name / "metrics.jsonl")
        reached = [line["accuracy"] for line in lines if "accuracy" in line]
        longest = max(reached[0], key=int)
        best_one = max(reached, key=lambda accuracy: accuracy[longest])
        models[name] = {"epochs": fields["optimizer.epochs"], "accuracy": best_one}
        if name == "deit":
            models[name]["width"] = fields["model.embed_dim"]
    for model in models.values():
        reached = model["accuracy"][max(model["accuracy"], key=int)]
        model["interval"] = interval(round(reached * tests), tests)
    return {"models": models, "multiply_adds": wanted, "step_s": step_s, "images": tests}


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
