"""`python -m vintk_jax.infer` without an assigner: all images at each length that is asked for."""

import numpy as np
from rich.console import Console

from vintk_jax.command_line import Invocation
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.opening import PREDICTIONS, open_images, open_predictions
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictions import predict, summarise
from vintk_jax.inference.predictor import Predictor
from vintk_jax.report.adaptive_table import prediction_table
from vintk_jax.report.progress import COMPILING, Progress
from vintk_jax.workdir.config_claims import read_claimed


def predict_at_lengths(invocation: Invocation, console: Console) -> None:
    """Every image at each length asked for.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    config = invocation.config
    workdir = invocation.workdir

    def say(note: str) -> None:
        console.print(note, style="yellow")

    training = read_claimed(workdir, "train")
    predictor = Predictor.load(workdir, training, config.checkpoint, say)
    names = predictor.choose(tuple(config.lengths))
    source, _ = open_images(config, training, predictor)
    plans = Plans(predictor)
    batch_sizes = (config.data.batch_size,)
    engines = [Engine(plans.fixed(name), predictor.shape, batch_sizes, np.inf) for name in names]
    console.print(
        f"{len(source):,} images at {', '.join(names)} tokens, batches of "
        f"{config.data.batch_size}, into {workdir / PREDICTIONS}"
    )
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    identity = (predictor.identity, *predictor.classes)
    out = open_predictions(workdir, config, console, source, *identity)
    rates = {}
    with Progress(len(source) * len(names), out.done, unit="images", console=console) as progress:
        # A killed run may have written all images of the first lengths.
        first = out.done // len(source)
        for name, engine in list(zip(names, engines, strict=True))[first:]:
            progress.phase(COMPILING)
            engine.warm_up()
            progress.phase(f"predicting at {name} tokens")
            rates[name] = predict(
                engine,
                source,
                out.done % len(source),
                predictor.classes,
                predictor.eval_transform,
                config.data.threads,
                out,
                progress.update,
            )
    out.finish()
    console.print(prediction_table(summarise(out.path, predictor.classes), rates))
