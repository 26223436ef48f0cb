"""`python -m vintk_jax.infer` with an assigner: each image at its own length; and every way to
spend tokens, compared.
"""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from rich.console import Console

from vintk_jax.adaptive import assigner_files, compared_methods, comparison
from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.adaptive.calibration import Calibration, chances_of
from vintk_jax.adaptive.session import Session
from vintk_jax.command_line import Invocation
from vintk_jax.data.sources import Source
from vintk_jax.files import write_json
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.opening import PREDICTIONS, open_images, open_predictions
from vintk_jax.inference.predictions import predict, summarise
from vintk_jax.report.adaptive_page import write_adaptive_page, write_adaptive_picture
from vintk_jax.report.adaptive_table import (
    advice,
    captured_line,
    comparison_table,
    equal_speed_table,
    prediction_table,
)
from vintk_jax.report.progress import COMPILING, Progress


def predict_adaptively(invocation: Invocation, console: Console) -> None:
    """Each image at the length that the assigner gives it; then all methods compared, where there
    are labels.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    config = invocation.config
    workdir = invocation.workdir

    def say(note: str) -> None:
        console.print(note, style="yellow")

    session = Session.open(workdir, config, say)
    predictor = session.predictor
    plans = session.plans
    assigner, calibration = assigner_files.read(session.folder, predictor.identity)
    point = calibration.choose("assigned", **config.budget)
    assigner = assigner.at(point)
    source, what = open_images(config, session.training, predictor)
    sizes = (*config.engine.batch_sizes, config.data.batch_size)
    # Full batches alone: a row's last bits differ between sizes of batches, and which sizes come up
    # depends on time and on where a killed run was.
    engine = Engine(assigner.plan(plans), predictor.shape, sizes[-1:], np.inf)
    expected = ", ".join(
        f"{share:.0%} at {name}" for name, share in zip(plans.names, point.mix) if share
    )
    console.print(
        f"{len(source):,} images of {what}; expected: {expected} tokens, {point.cost:.0%} of the "
        "longest length's cost, accuracy "
        f"{(point.accuracy - calibration.full) * 100:+.2f} points, into {workdir / PREDICTIONS}",
        soft_wrap=True,
    )
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    identity = (predictor.identity, assigner.identity, *predictor.classes)
    out = open_predictions(workdir, config, console, source, *identity)
    with Progress(len(source), out.done, unit="images", console=console) as progress:
        progress.phase(COMPILING)
        engine.warm_up()
        progress.phase("predicting")
        rates = {}
        # A killed run may have written all, and not yet given the file its name.
        if out.done < len(source):
            rates["assigned"] = predict(
                engine,
                source,
                out.done,
                predictor.classes,
                predictor.eval_transform,
                config.data.threads,
                out,
                progress.update,
            )
    out.finish()
    summary = summarise(out.path, predictor.classes)
    console.print(prediction_table(summary, rates))
    if config.compare.rounds and summary["accuracy"] is not None:
        _compare(session, assigner, calibration, source, what, sizes, console)


def _compare(
    session: Session,
    assigner: Assigner,
    calibration: Calibration,
    source: Source,
    what: str,
    sizes: Sequence[int],
    console: Console,
) -> None:
    """adaptive.json, adaptive.png, adaptive.html; tables in the terminal."""
    config = session.config
    plans = session.plans
    compare = config.compare
    if len(source) > compare.images:
        source = source.part(np.arange(compare.images))
    with Progress(len(source), unit="images", console=console) as progress:
        progress.phase(COMPILING, then="running every length")
        answers = session.answers(session.predictor, source, what, progress.update)
    transform = session.predictor.eval_transform
    rng = np.random.default_rng(0)
    images = np.stack([transform(source[i], rng)["image"] for i in range(len(source))])
    drops = tuple(dict.fromkeys((config.budget.max_drop, *compare.drops)))
    compared = compared_methods.methods(
        plans,
        assigner,
        calibration,
        answers.right,
        drops,
        config.budget.max_cost,
        config.budget.confidence,
        config.seed,
        config.budget.get("by", "measured"),
    )
    engines = [
        Engine(method.plan, plans.shape, sizes, config.engine.max_wait_ms / 1000)
        for method in compared
    ]
    with Progress(len(compared) * compare.rounds, unit="runs", console=console) as progress:
        progress.phase(COMPILING)
        for engine in engines:
            engine.warm_up(len(images))
        progress.phase("comparing")
        entries = comparison.compare(
            compared, engines, images, answers.labels, plans.names, compare.rounds, progress.update
        )
    device = jax.devices()[0]
    result: dict[str, Any] = {
        "dataset": what,
        "device": " ".join(dict.fromkeys((device.platform, device.device_kind))),
        "batch_size": config.data.batch_size,
        "images": len(source),
        "methods": entries,
        "at_equal_speed": comparison.at_equal_speed(entries),
        "captured": comparison.captured(entries),
    }
    write_json(session.workdir / "adaptive.json", result)
    write_adaptive_picture(session.workdir / "adaptive.png", result)
    _write_page(session, assigner, answers, images, result)
    console.print(comparison_table(entries))
    console.print(equal_speed_table(result["at_equal_speed"]))
    console.print(captured_line(result), soft_wrap=True)
    console.print(advice(result), soft_wrap=True)
    console.print(f"Look at it: {session.workdir / 'adaptive.html'}", soft_wrap=True)


def _write_page(
    session: Session,
    assigner: Assigner,
    answers: Answers,
    images: np.ndarray,
    result: dict[str, Any],
) -> None:
    """Images beside the lengths that they were given."""
    while images.ndim > 4:  # of clips a frame
        images = images[:, images.shape[1] // 2]
    chances = chances_of(assigner, answers)
    outcomes = assigner.outcomes(answers, chances, assigner.price, assigner.start)
    write_adaptive_page(
        session.workdir / "adaptive.html",
        result=result,
        images=images,
        lengths=outcomes.lengths,
        predicted=outcomes.probabilities.argmax(axis=1),
        labels=answers.labels,
        names=session.plans.names,
        classes=session.predictor.classes,
        config=json.loads(session.config.to_json_best_effort()),
    )
