"""What assigning and adaptive inference share: the model in a workdir, its plans, and its answers
to a split.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import ml_collections
import numpy as np

from vintk_jax import config as configs
from vintk_jax.adaptive.answers import Answers, collect
from vintk_jax.adaptive.plans import Plans
from vintk_jax.data.sources import Source, in_common, open_source
from vintk_jax.errors import UserError
from vintk_jax.inference.predictor import Predictor
from vintk_jax.training.tasks import kinds_of

FOLDER = "assign"  # in the workdir


@dataclasses.dataclass(frozen=True)
class Session:
    """A trained model and the config that it is used under.

    Attributes:
        config: of assign or infer; trained: of the training.
    """

    workdir: Path
    config: ml_collections.ConfigDict
    trained: ml_collections.ConfigDict
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
        trained = configs.read_claimed(workdir, "train")
        if config.checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={config.checkpoint!r} came; best or last was wanted.")
        predictor = Predictor.load(workdir, trained, config.checkpoint, say)
        if len(predictor.names) < 2:
            raise UserError(
                f"The model in {workdir} has one token length ({predictor.names[0]}); two at least "
                "were wanted: model.lengths."
            )
        return cls(workdir, config, trained, predictor, Plans(predictor))

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
        data, labels = self.trained.data, self.config.labels
        if labels.folds and self.trained.optimizer.epochs == 0 and not self.trained.optimizer.steps:
            raise UserError(
                f"labels.folds={labels.folds} came, but the model's weights are other people's as "
                "they came: there is no training to repeat without a "
                "part. Give labels.split images that they weren't trained on."
            )
        if labels.folds and labels.calibrate_split == "":
            raise UserError(
                f"labels.folds={labels.folds} came without labels.calibrate_split: the folds' "
                "models have learned from fewer images than the one in "
                "use, whose thresholds want images that none of them has seen."
            )
        learned = (
            0
            if labels.folds
            else in_common(data.source, labels.split, data.train_split, kinds_of(self.trained))
        )
        if learned and not labels.allow_training_images:
            raise UserError(
                f"{learned:,} images of labels.split={labels.split} are of those that the model "
                f"was trained on ({data.train_split}); it is right about "
                "them at fewer tokens than about new ones. Train on a part "
                "(data.train_split=train[:90%]) and give the rest here, let models of "
                "labels.folds=5 parts label each other's, or set labels.allow_training_images=True."
            )
        own = {} if labels.folds else {"labels.split": labels.split}
        for name, other in {**own, "the training's train_split": data.train_split}.items():
            if common := labels.calibrate_split and in_common(
                data.source, labels.calibrate_split, other, kinds_of(self.trained)
            ):
                raise UserError(
                    f"{common:,} images of labels.calibrate_split={labels.calibrate_split} are in "
                    f"{name}={other}; others were wanted."
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
        where = self.trained.data.source
        source = open_source(where, split, kinds_of(self.trained))
        return source if most is None or most >= len(source) else source.part(
            np.arange(most)
        ), f"{where} {split}"
