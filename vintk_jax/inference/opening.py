"""What predicting begins with: the images, and the file that predictions go to."""

from pathlib import Path

import ml_collections
from rich.console import Console

from vintk_jax.config_digest import digest
from vintk_jax.data import folders
from vintk_jax.data.identity import of_words
from vintk_jax.data.sources import Source, open_source
from vintk_jax.defaults.field import fields
from vintk_jax.errors import UserError
from vintk_jax.files import write_json
from vintk_jax.inference.predictions import Predictions
from vintk_jax.inference.predictor import Predictor
from vintk_jax.tasks import kind_of

PREDICTIONS = "predictions.jsonl"


def open_images(
    config: ml_collections.ConfigDict, training: ml_collections.ConfigDict, predictor: Predictor
) -> tuple[Source, str]:
    """The images to predict on, and a name for them.

    Args:
        config: of the command: its section `data` may name other images than the training's.
        training: the config of the training.

    Raises:
        UserError: for other classes than the model's.
    """
    where = config.data.source or training.data.source
    split = config.data.split or training.data.test_split
    source = open_source(where, split, kind_of(training).sources)
    if source.classes and source.classes != predictor.classes:
        differing = folders.differing(source.classes, predictor.classes, ("the data", "the model"))
        raise UserError(
            f"Expected images of the model's {len(predictor.classes)} classes, got images of "
            f"{len(source.classes)}: {differing}."
        )
    return source, f"{where} {split}"


def open_predictions(
    workdir: Path,
    config: ml_collections.ConfigDict,
    console: Console,
    source: Source,
    *identity: str,
) -> Predictions:
    """The file of predictions. A run of the same command with the same weights and images goes on
    behind what a killed one has written; what one with others has written is told and left behind.

    Args:
        identity: of the weights and classes.
    """
    write_json(workdir / "infer.config.json", dict(fields(config)))
    words = of_words(*identity)
    key = "-".join((digest(config), source.identity, words))
    out = Predictions(workdir / PREDICTIONS, key)
    if out.others:
        console.print(
            f"{len(out.others)} unfinished run(s) in {workdir} had other images, labels, weights "
            "or settings; this one begins anew."
        )
        for path in out.others:
            path.unlink(missing_ok=True)
    return out
