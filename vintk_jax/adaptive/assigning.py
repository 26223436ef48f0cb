"""An assigner made: labels from a model's answers, the network trained on them, settings for every
budget.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from vintk_jax.adaptive import assigner_files, calibration, length_labels
from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.adaptive.assigner_kinds import make_assigner
from vintk_jax.adaptive.calibration import Calibration
from vintk_jax.adaptive.crossfit import cross_fitted_answers
from vintk_jax.adaptive.fitting import FIELDS, Fit, steps_of
from vintk_jax.adaptive.session import Session
from vintk_jax.data.sources import Source
from vintk_jax.inference.clock import kept_seconds
from vintk_jax.report.progress import COMPILING, Progress

_COMPARED = 2000  # training images whose labels are shown beside the held-out ones'
# What images are for, as the command says it.
LABELS = "labels"
THRESHOLDS = "thresholds"
TRAINED_ON = "trained on"

ProgressOf = Callable[[int, str], Progress]
Distributions = dict[str, dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Assigning:
    """All that a config comes to, ahead of the first image.

    Attributes:
        session: the trained model.
        assigner: not trained yet.
        stages: how often it is asked.
        fit: how it is trained.
        sources: the images, with a name for them, by what they are for.
    """

    session: Session
    assigner: Assigner
    stages: int
    fit: Fit
    sources: dict[str, tuple[Source, str]]

    @classmethod
    def of(cls, session: Session, keep: bool = True) -> "Assigning":
        """Open the images, choose the network.

        Args:
            keep: whether times that are measured may be written into the workdir.

        Raises:
            UserError: for whatever in the config doesn't fit.
        """
        session.refuse_training_images()
        config = session.config
        tla = config.tla
        labels = config.labels
        plans = session.plans
        if tla.get("costs", "") == "clock":
            identity = session.predictor.identity
            plans.seconds = kept_seconds(
                plans, config.data.batch_size, session.folder, identity, keep
            )
        assigner = make_assigner(
            tla.kind,
            tla.width,
            tla.target,
            tla.thumbnail,
            tla.keep,
            plans.costs,
            plans.costs_alone,
            len(session.predictor.classes),
        )
        fit = Fit(labels.none_right, **{name: tla[name] for name in FIELDS})
        sources = {}
        if not labels.folds:
            sources[LABELS] = session.open_split(labels.split)
        if labels.calibrate_split:
            sources[THRESHOLDS] = session.open_split(labels.calibrate_split)
        train_split = session.training.data.train_split
        sources[TRAINED_ON] = session.open_split(train_split, _COMPARED)
        learned_from, _ = session.open_split(train_split) if labels.folds else sources[LABELS]
        steps_of(tla.epochs, tla.batch_size, len(learned_from))
        return cls(session, assigner, assigner.num_stages(tla.again), fit, sources)

    @property
    def unseen(self) -> tuple[Source, str]:
        """Labelled images that the model wasn't trained on, and a name for them."""
        return self.sources[THRESHOLDS if THRESHOLDS in self.sources else LABELS]

    def run(
        self, progress_of: ProgressOf, say: Callable[[str], None]
    ) -> tuple[Calibration, Distributions]:
        """Label, train, calibrate, and write the assigner into the workdir. A run that was killed
        goes on.

        Returns:
            The calibration, and the distributions of the labels by the images that they are of.
        """
        config = self.session.config
        answers = {}
        if config.labels.folds:
            answers[LABELS] = cross_fitted_answers(
                self.session, config.labels.folds, progress_of, say
            )
        total = sum(len(source) for source, _ in self.sources.values())
        with progress_of(total, "images") as progress:
            answers |= self._answers(progress)
            progress.phase("training the assigner")
            assigner, losses = calibration.fitted(
                self.assigner, answers[LABELS], self.fit, config.seed, self.stages
            )
            progress.phase("calibrating")
            calibrated = self._calibrate(assigner, answers)
        distributions = {
            f"{len(answers[what].labels):,} images, {words}": length_labels.distribution(
                answers[what].right, config.labels.none_right, self.session.plans.names
            )
            for what, words in ((LABELS, "not trained on"), (TRAINED_ON, "trained on"))
        }
        features = answers[LABELS].features.shape[-1]
        record = self._record(assigner, features, distributions, losses)
        assigner_files.save(self.session.folder, assigner, calibrated, record)
        return calibrated, distributions

    def _answers(self, progress: Progress) -> dict[str, Answers]:
        """The model's answers to all images, by what they are for."""
        answers = {}
        before = 0
        for what, (source, name) in self.sources.items():
            running = f"running: {what}"
            progress.phase(running if before else COMPILING, then=running)

            def advance(done: int, before: int = before) -> None:
                progress.update(before + done)

            answers[what] = self.session.answers(self.session.predictor, source, name, advance)
            before += len(source)
        return answers

    def _calibrate(self, assigner: Assigner, answers: dict[str, Answers]) -> Calibration:
        """On images of their own; without any, on those that labels come from, cross-fitted."""
        if THRESHOLDS in answers:
            calibrate_on = answers[THRESHOLDS]
            chances = calibration.chances_of(assigner, calibrate_on)
        else:
            calibrate_on = answers[LABELS]
            chances = calibration.cross_fitted_chances(
                assigner, calibrate_on, self.fit, self.session.config.seed, self.stages
            )
        return Calibration.of(calibrate_on, chances, assigner, self.session.plans)

    def _record(
        self, assigner: Assigner, features: int, distributions: Distributions, losses: list[float]
    ) -> dict[str, Any]:
        """What is kept beside the weights."""
        plans = self.session.plans
        counted = plans.multiply_adds | {"assigner": assigner.multiply_adds(plans)}
        return {
            "model": self.session.predictor.identity,
            "names": plans.names,
            "features": features,
            "classes": len(self.session.predictor.classes),
            "tla": dict(self.session.config.tla.items()),
            "looks": self.stages,
            "labels": distributions,
            "losses": losses,
            "multiply_adds": counted,
        }
