"""What a run came to, from what its stages have left: adapt.json, and the page adapt.html.

Runs as a process of its own (`stage`), since it opens the model.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax.adapting import running
from vintk_jax.adapting.given import read_given
from vintk_jax.adapting.outcomes import by_class, by_length, galleries, interval, points_interval
from vintk_jax.adapting.plan import STAGES, Plan
from vintk_jax.files import write_json
from vintk_jax.report.adaptive_table import takes_longest
from vintk_jax.workdir.config_claims import read_claimed

RESULT = "adapt.json"
PAGE = "adapt.html"


def write_results(workdir: Path, folder: Path) -> None:
    """Write adapt.json and adapt.html.

    Args:
        folder: the workdir of the training.
    """
    from vintk_jax.adaptive import assigner_files
    from vintk_jax.adaptive.calibration import chances_of
    from vintk_jax.adaptive.session import Session
    from vintk_jax.inference.opening import open_images
    from vintk_jax.report.adapt_page import SHOWN, write_adapt_page

    plan = Plan.read(workdir)
    config = read_claimed(workdir, "adapt")
    session = Session.open(folder, read_claimed(folder, "infer"), print)
    predictor = session.predictor
    assigner, calibration = assigner_files.read(session.folder, predictor.identity)
    point = calibration.choose("assigned", **session.config.budget)
    assigner = assigner.at(point)
    source, what = open_images(session.config, session.training, predictor)
    most = session.config.compare.images
    if len(source) > most:
        source = source.part(np.arange(most))
    answers = session.answers(predictor, source, what, _nothing)
    chances = chances_of(assigner, answers)
    outcomes = assigner.outcomes(answers, chances, assigner.price, assigner.start)
    predicted = outcomes.probabilities.argmax(axis=1)
    adaptive = predicted == answers.labels
    right = answers.right
    low, high = interval(int(adaptive.sum()), len(adaptive))
    compared = json.loads((folder / "adaptive.json").read_text())
    given = read_given(config)
    result = {
        "source": plan.survey.source,
        "images": len(answers.labels),
        "classes": len(predictor.classes),
        "device": compared["device"],
        "found": _found(workdir, plan, given),
        "params": _parameters(workdir / running.EXPORT),
        "lengths": by_length(answers.names, right, session.plans.multiply_adds_alone),
        "adaptive": {"accuracy": float(adaptive.mean()), "low": low, "high": high},
        "points": dict(zip(("low", "high"), points_interval(right[:, -1], adaptive), strict=True)),
        "thresholds": {"images": calibration.images, "points": _points(point, calibration.full)},
        "budget": dict(session.config.budget.items()),
        "at_equal_speed": compared["at_equal_speed"],
        "by_class": by_class(predictor.classes, answers.labels, right[:, -1], adaptive),
        "planned_s": plan.seconds,
        "taken_s": running.finished(workdir),
        "commands": _commands(plan, workdir, given),
    }
    write_json(workdir / RESULT, result)
    chosen = galleries(right, answers.probabilities[:, 0].max(axis=-1), SHOWN)
    said = answers.probabilities.argmax(axis=-1)

    def tile(number: int) -> dict[str, Any]:
        image = predictor.eval_transform(source[number], np.random.default_rng(0))["image"]
        return {
            "image": image,
            "is": predictor.classes[answers.labels[number]],
            "given": answers.names[outcomes.lengths[number]],
            "said": [
                (name, predictor.classes[said[number, at]], bool(right[number, at]))
                for at, name in enumerate(answers.names)
            ],
        }

    write_adapt_page(
        workdir / PAGE,
        result=result,
        methods=compared,
        reasons=plan.reasons,
        tiles={name: [tile(number) for number in numbers] for name, numbers in chosen.items()},
        workdir=workdir,
        model=folder,
        config=config.to_dict(),
    )


def _points(point: Any, full: float) -> float:
    return 100 * (point.accuracy - full)


def _parameters(export: Path) -> int:
    """How many numbers the exported weights hold."""
    from safetensors import safe_open

    from vintk_jax.exporting.hugging_face import WEIGHTS

    with safe_open(export / WEIGHTS, framework="numpy") as file:
        return sum(
            math.prod(file.get_slice(name).get_shape())
            for name in file.keys()  # noqa: SIM118 (it is no dictionary)
        )


def _found(workdir: Path, plan: Plan, given: Any) -> dict[str, Any]:
    """The architecture, and where it comes from."""
    if given.model is not None:
        return {"by": "model", "from": str(given.model)}
    if given.weights is not None:
        return {"by": "weights", "from": plan.values["train"]["model.weights"]}
    if given.arch is not None:
        return {"by": "arch", "from": str(given.arch), "best": given.best}
    folder = workdir / running.SEARCH
    lines = (folder / "candidates.jsonl").read_text().splitlines()
    scores = sorted(json.loads(line)["score"] for line in lines)
    return {
        "by": "search",
        "best": json.loads((folder / "best.json").read_text()),
        "scored": len(scores),
        "median_score": scores[len(scores) // 2],
        "limit_m": plan.values["search"]["limits.max_flops_m"],
    }


def _commands(plan: Plan, workdir: Path, given: Any) -> dict[str, str]:
    """What was run, as a person types it."""
    return {
        stage: running.shown(
            running.command_of(stage, plan, workdir, arch=given.arch, model=given.model)
        )
        for stage in STAGES
        if stage in plan.seconds and stage != "page"
    }


def summary_of(workdir: Path) -> list[str]:
    """The result in a few lines, for the terminal."""
    result = json.loads((workdir / RESULT).read_text())
    lines = [
        f"{row['tokens']} tokens: {row['accuracy']:.2%} ({row['low']:.1%} to {row['high']:.1%}) "
        f"of {result['images']:,} test images, {row['multiply_adds'] / 1e6:.2f} M multiply-adds"
        for row in result["lengths"]
    ]
    chosen = result["at_equal_speed"][0]
    if takes_longest(chosen):
        lines.append(
            "Each image at its own length saves nothing within this budget: all take "
            f"{result['lengths'][0]['tokens']} tokens."
        )
        return lines
    lines.append(
        f"Each image at its own length: {chosen['tla']:.2%}, {chosen['speed']:.2f} times as fast "
        f"as the longest length ({chosen['gain']:+.2f} points)."
    )
    return lines


def _nothing(done: int) -> None:
    """The answers are there already."""


def main(argv: list[str]) -> None:
    """Write the results of a workdir.

    Args:
        argv: the program's name, the workdir, the workdir of the training.
    """
    from vintk_jax.jax_settings import set_up_training

    set_up_training()
    write_results(Path(argv[1]), Path(argv[2]))
