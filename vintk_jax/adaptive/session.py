"""What assigning and adaptive inference share: the model in a workdir, its plans, and its answers to a split."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

import ml_collections

from vintk_jax import config as configs
from vintk_jax.adaptive.answers import Answers, collect
from vintk_jax.adaptive.plans import Plans
from vintk_jax.data.sources import in_common, open_source
from vintk_jax.errors import UserError
from vintk_jax.inference.predictor import Predictor

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
    def open(cls, workdir: Path, config: ml_collections.ConfigDict, say: Callable[[str], None]) -> "Session":
        """Load what was trained.

        Raises:
            UserError: when nothing was, it can't be read, or it has one length only.
        """
        trained = configs.read_claimed(workdir, "train")
        if config.checkpoint not in ("best", "last"):
            raise UserError(f"checkpoint={config.checkpoint!r} came; best or last was wanted.")
        predictor = Predictor.load(workdir, trained, config.checkpoint, say)
        if len(predictor.names) < 2:
            raise UserError(f"The model in {workdir} has one token length ({predictor.names[0]}); two at least were wanted: model.lengths.")
        return cls(workdir, config, trained, predictor, Plans(predictor))

    @property
    def folder(self) -> Path:
        """Where what belongs to the assigner lies."""
        return self.workdir / FOLDER

    def refuse_training_images(self) -> None:
        """Labels come from images that the model wasn't trained on, and budgets are kept on others still.

        Raises:
            UserError: naming the splits that overlap.
        """
        data, labels = self.trained.data, self.config.labels
        learned = in_common(data.source, labels.split, data.train_split)
        if learned and not labels.allow_training_images:
            raise UserError(
                f"{learned:,} images of labels.split={labels.split} are of those that the model was trained on ({data.train_split}); it is right about "
                "them at fewer tokens than about new ones. Train on a part (data.train_split=train[:90%]) and give the rest here, or set "
                "labels.allow_training_images=True."
            )
        for name, other in (("labels.split", labels.split), ("the training's train_split", data.train_split)):
            if common := in_common(data.source, labels.calibrate_split, other):
                raise UserError(
                    f"{common:,} images of labels.calibrate_split={labels.calibrate_split} are in {name}={other}; others were wanted."
                )

    def answers(self, split: str, advance: Callable[[int], None], most: int | None = None) -> Answers:
        """The model's answers to a split of the training's source, kept in the workdir.

        Args:
            most: only so many images, the first.
        """
        source = open_source(self.trained.data.source, split)
        source = source if most is None or most >= len(source) else source.part(np.arange(most))
        what = f"{self.trained.data.source} {split} {len(source)} {self.predictor.identity} {self.config.data.batch_size} {self.config.tla.thumbnail}"
        folder = self.folder / "answers" / hashlib.sha256(what.encode()).hexdigest()[:12]
        return collect(self.predictor, source, self.config.data.batch_size, self.config.tla.thumbnail, folder, advance)

    def length_of(self, split: str) -> int:
        """How many images a split of the training's source has."""
        return len(open_source(self.trained.data.source, split))
