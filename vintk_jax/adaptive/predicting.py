"""The two ways of `python -m vintk_jax.infer`: each image at the length assigned to it, or all at
each length.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from rich.console import Console

from vintk_jax import config as configs
from vintk_jax.adaptive import assigned, comparison
from vintk_jax.adaptive.calibration import chances_of, ways_assigned
from vintk_jax.adaptive.plans import Plans
from vintk_jax.adaptive.session import Session
from vintk_jax.data import walk
from vintk_jax.data.identity import of_words
from vintk_jax.data.sources import Source, open_source
from vintk_jax.errors import UserError
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.predictor import Predictor
from vintk_jax.inference.run import Predictions, predict, summarise
from vintk_jax.report.adaptive_page import write_adaptive_page, write_adaptive_picture
from vintk_jax.report.adaptive_table import (
    captured_line,
    comparison_table,
    equal_speed_table,
    prediction_table,
)
from vintk_jax.report.progress import COMPILING, Progress
from vintk_jax.training.tasks import kinds_of

PREDICTIONS = "predictions.jsonl"


def _open_images(
    session_config: ml_collections.ConfigDict,
    trained: ml_collections.ConfigDict,
    predictor: Predictor,
) -> tuple[Source, str]:
    """The images to predict on, and a name for them.

    Raises:
        UserError: for other classes than the model's.
    """
    where, split = (
        session_config.data.source or trained.data.source,
        session_config.data.split or trained.data.test_split,
    )
    source = open_source(where, split, kinds_of(trained))
    if source.classes and source.classes != predictor.classes:
        raise UserError(
            f"The images have {len(source.classes)} classes, the model {len(predictor.classes)}; "
            "the same were wanted, but "
            f"{walk.differing(source.classes, predictor.classes, ('the data', 'the model'))}."
        )
    return source, f"{where} {split}"


def _predictions(
    workdir: Path,
    config: ml_collections.ConfigDict,
    console: Console,
    source: Source,
    *identity: str,
) -> Predictions:
    """The file, behind what a killed run of the same command with the same weights and images has
    written; what one with others has written is told and left behind.
    """
    configs.write_json(workdir / "infer.config.json", dict(configs.fields(config)))
    words = of_words(*identity)
    key = "-".join((configs.digest(config), source.identity, words))
    out = Predictions(workdir / PREDICTIONS, key)
    if out.others:
        console.print(
            f"{len(out.others)} unfinished run(s) in {workdir} had other images, labels, weights "
            "or settings; this one begins anew."
        )
        for path in out.others:
            path.unlink(missing_ok=True)
    return out


def predict_at_lengths(invocation: configs.Invocation, console: Console) -> None:
    """Every image at each length asked for.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    config, workdir = invocation.config, invocation.workdir
    trained = configs.read_claimed(workdir, "train")
    predictor = Predictor.load(
        workdir, trained, config.checkpoint, lambda note: console.print(note, style="yellow")
    )
    plans, names = Plans(predictor), predictor.choose(tuple(config.lengths))
    source, _ = _open_images(config, trained, predictor)
    engines = [
        Engine(plans.fixed(name), predictor.shape, (config.data.batch_size,), np.inf)
        for name in names
    ]
    console.print(
        f"{len(source):,} images at {', '.join(names)} tokens, batches of "
        f"{config.data.batch_size}, into {workdir / PREDICTIONS}"
    )
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    known = (predictor.identity, *predictor.classes)
    out, rates = _predictions(workdir, config, console, source, *known), {}
    transform = predictor.look
    with Progress(len(source) * len(names), out.done, unit="images", console=console) as progress:
        for name, engine in list(zip(names, engines))[out.done // len(source) :]:
            progress.phase(COMPILING)
            engine.warm_up()
            progress.phase(f"predicting at {name} tokens")
            start = out.done % len(source)
            rates[name] = predict(
                engine,
                source,
                start,
                predictor.classes,
                transform,
                config.data.threads,
                out,
                progress.update,
            )
    out.finish()
    console.print(prediction_table(summarise(out.path, predictor.classes), rates))


def predict_adaptively(invocation: configs.Invocation, console: Console) -> None:
    """Each image at the length that the assigner gives it; then all methods compared, where there
    are labels.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    config, workdir, budget = invocation.config, invocation.workdir, invocation.config.budget
    session = Session.open(workdir, config, lambda note: console.print(note, style="yellow"))
    predictor, plans = session.predictor, session.plans
    assigner, calibration = assigned.read(session.folder, predictor.identity)
    point = calibration.choose("assigned", **budget)
    assigner = assigner.at(point)
    source, what = _open_images(config, session.trained, predictor)
    sizes = (*config.engine.batch_sizes, config.data.batch_size)
    engine = Engine(
        plans.assigned(assigner), predictor.shape, sizes, config.engine.max_wait_ms / 1000
    )
    expected = ", ".join(
        f"{share:.0%} at {name}" for name, share in zip(plans.names, point.mix) if share
    )
    console.print(
        f"{len(source):,} images of {what}; expected: {expected} tokens, {point.cost:.0%} of the "
        "longest length's multiply-adds, accuracy "
        f"{(point.accuracy - calibration.full) * 100:+.2f} points, into {workdir / PREDICTIONS}",
        soft_wrap=True,
    )
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    known = (predictor.identity, assigner.identity, *predictor.classes)
    out = _predictions(workdir, config, console, source, *known)
    transform = predictor.look
    with Progress(len(source), out.done, unit="images", console=console) as progress:
        progress.phase(COMPILING)
        engine.warm_up()
        progress.phase("predicting")
        rates = {}
        # else a killed run had written all and not yet given the file its name
        if out.done < len(source):
            rates["assigned"] = predict(
                engine,
                source,
                out.done,
                predictor.classes,
                transform,
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
    assigner,
    calibration,
    source: Source,
    what: str,
    sizes: Sequence[int],
    console: Console,
) -> None:
    """adaptive.json, adaptive.png, adaptive.html; tables in the terminal."""
    config, plans, compare = session.config, session.plans, session.config.compare
    source = source if len(source) <= compare.images else source.part(np.arange(compare.images))
    with Progress(len(source), unit="images", console=console) as progress:
        progress.phase(COMPILING, then="running every length")
        answers = session.answers(session.predictor, source, what, progress.update)
    transform, rng = session.predictor.look, np.random.default_rng(0)
    images = np.stack([transform(source[i], rng)["image"] for i in range(len(source))])
    drops = tuple(dict.fromkeys((config.budget.max_drop, *compare.drops)))
    compared = comparison.methods(
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
            engine.warm_up()
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
    configs.write_json(session.workdir / "adaptive.json", result)
    write_adaptive_picture(session.workdir / "adaptive.png", result)
    _page(session, assigner, answers, images, result)
    console.print(comparison_table(entries))
    console.print(equal_speed_table(result["at_equal_speed"]))
    console.print(captured_line(result), soft_wrap=True)
    console.print(f"Look at it: {session.workdir / 'adaptive.html'}", soft_wrap=True)


def _page(session: Session, assigner, answers, images: np.ndarray, result: dict[str, Any]) -> None:
    """Images beside the lengths that they were given."""
    while images.ndim > 4:  # of clips a frame
        images = images[:, images.shape[1] // 2]
    ways = ways_assigned(
        answers, chances_of(assigner, answers), assigner, assigner.price, assigner.start
    )
    write_adaptive_page(
        session.workdir / "adaptive.html",
        result=result,
        images=images,
        lengths=ways.lengths,
        predicted=ways.probabilities.argmax(axis=1),
        labels=answers.labels,
        names=session.plans.names,
        classes=session.predictor.classes,
        config=json.loads(session.config.to_json_best_effort()),
    )
