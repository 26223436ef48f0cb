"""What assigning and adaptive inference share: the model in a workdir, its plans, and its answers
to a split.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import ml_collections
import numpy as np

from vintk_jax.adaptive.answers import Answers, collect
from vintk_jax.data.sources import Kinds, Source, in_common, open_source
from vintk_jax.errors import UserError
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import Predictor
from vintk_jax.tasks import kind_of
from vintk_jax.workdir.config_claims import read_claimed

FOLDER = "assign"  # in the workdir


@dataclasses.dataclass(frozen=True)
class Session:
    """A trained model and the config that it is used under.

    Attributes:
        config: of assign or infer.
        training: the config of the training.
    """

    workdir: Path
    config: ml_collections.ConfigDict
    training: ml_collections.ConfigDict
    predictor: Predictor
    plans: Plans

    @classmethod
    def open(
        cls, workdir: Path, config: ml_collections.ConfigDict, say: Callable[[str], None]
    ) -> "Session":
        """Load what was trained.

        Raises:
            UserError: when nothing was, it can't be read, or it has one length only.
        """
        training = read_claimed(workdir, "train")
        if config.checkpoint not in ("best", "last"):
            raise UserError(f"Expected checkpoint to be best or last, got {config.checkpoint!r}.")
        predictor = Predictor.load(workdir, training, config.checkpoint, say)
        if len(predictor.names) < 2:
            raise UserError(
                f"Expected a model of two token lengths at least (model.lengths), got one in "
                f"{workdir}: {predictor.names[0]}."
            )
        return cls(workdir, config, training, predictor, Plans(predictor))

    @property
    def sources(self) -> Kinds:
        """What opens the data that the training may name."""
        return kind_of(self.training).sources

    @property
    def folder(self) -> Path:
        """Where what belongs to the assigner lies."""
        return self.workdir / FOLDER

    def refuse_training_images(self) -> None:
        """Labels come from images that the model wasn't trained on, and budgets are kept on others
        still.

        Raises:
            UserError: naming the splits that overlap.
        """
        data = self.training.data
        labels = self.config.labels
        optimizer = self.training.optimizer
        if labels.folds and optimizer.epochs == 0 and not optimizer.steps:
            raise UserError(
                f"Expected labels.folds=0 for weights of others, got {labels.folds}: there is no "
                "training to repeat without a part. Give labels.split images that the weights "
                "weren't trained on."
            )
        if labels.folds and labels.calibrate_split == "":
            raise UserError(
                f"Expected labels.calibrate_split beside labels.folds={labels.folds}, got none. "
                "The folds' models have learned from fewer images than the one in use: its "
                "thresholds need images that none of them has seen."
            )
        learned = 0
        if not labels.folds:
            learned = in_common(data.source, labels.split, data.train_split, self.sources)
        if learned and not labels.allow_training_images:
            raise UserError(
                f"Expected labels.split of images that the model wasn't trained on, got "
                f"{labels.split}: {learned:,} of them are in {data.train_split}, and the model is "
                "right about these at fewer tokens than about new ones. Train on a part "
                "(data.train_split=train[:90%]) and give the rest here, let models of "
                "labels.folds=5 parts label each other's, or set labels.allow_training_images=True."
            )
        if not labels.calibrate_split:
            return
        others = {} if labels.folds else {"labels.split": labels.split}
        others["the training's train_split"] = data.train_split
        for name, other in others.items():
            common = in_common(data.source, labels.calibrate_split, other, self.sources)
            if common:
                raise UserError(
                    f"Expected other images in labels.calibrate_split={labels.calibrate_split} "
                    f"than in {name}={other}, got {common:,} that are in both."
                )

    def answers(
        self, predictor: Predictor, source: Source, what: str, advance: Callable[[int], None]
    ) -> Answers:
        """A model's answers to images, kept in the workdir.

        Args:
            what: a name for the source: together with its identity (every image and label) and
                the model's it says which answers these are.
        """
        config = self.config
        key = (
            f"{what} {len(source)} {source.identity} {predictor.identity} "
            f"{config.data.batch_size} {config.tla.thumbnail}"
        )
        folder = self.folder / "answers" / hashlib.sha256(key.encode()).hexdigest()[:12]
        return collect(
            predictor, source, config.data.batch_size, config.tla.thumbnail, folder, advance
        )

    def open_split(self, split: str, most: int | None = None) -> tuple[Source, str]:
        """A split of the training's source, or its first images, and a name for it."""
        where = self.training.data.source
        source = open_source(where, split, self.sources)
        if most is not None and most < len(source):
            source = source.part(np.arange(most))
        return source, f"{where} {split}"
