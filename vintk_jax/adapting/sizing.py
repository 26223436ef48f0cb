"""How large a model, and images of how many pixels."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections

from vintk_jax.adapting.given import Given
from vintk_jax.adapting.machine import StepSpeed
from vintk_jax.adapting.rungs import RUNGS, Rung
from vintk_jax.adapting.survey import Survey
from vintk_jax.adapting.timing import Timing

KEPT_BACK = 0.1
SEARCH_SHARE = 0.2
SIDES = (32, 48, 64, 96, 112, 160, 224)  # pixels
PIXELS_A_TOKEN = 16  # a side, at most
BATCH = 64
HOPE = 0.5  # small models' steps are slower than their work: a larger rung may be within reach
Because = Callable[[str, str, str], None]
Measure = Callable[[dict[str, Any], dict[str, Any] | None], StepSpeed]


def wanted_epochs(images: int) -> float:
    """How often a training should see its images before a larger model is worth it: 200,000 in
    all (configs/revit_cifar10.py shows 240,000), 6 times at least and 40 at most.
    """
    return min(max(200_000 / images, 6.0), 40.0)


def side_of(survey: Survey, rung: Rung) -> int:
    """Pixels a side that images are shown at: the largest of `SIDES` that half of the images have,
    and no more than 16 for each token.
    """
    most = min(survey.sides[1], PIXELS_A_TOKEN * rung.lengths[0])
    return max((side for side in SIDES if side <= most), default=SIDES[0])


def batch_of(config: ml_collections.ConfigDict, survey: Survey) -> int:
    """Images of a step: as was asked for, or 64, or a quarter of few images."""
    return config.plan.batch_size or max(min(BATCH, survey.counts["train"] // 4), 2)


def seconds_left(config: ml_collections.ConfigDict, begun: int | float) -> float:
    """Seconds that may still be planned with: a tenth is kept back.

    Args:
        begun: by `time.monotonic`.
    """
    return (1 - KEPT_BACK) * 3600 * config.time_h - (time.monotonic() - begun)


@dataclasses.dataclass(frozen=True)
class Size:
    """What was chosen.

    Attributes:
        lengths: tokens a side, longest first.
        side: pixels.
        params: parameters, about.
        max_flops_m: the limit of a search.
        training: fields of the training, but how long it is.
        speed: of its steps.
    """

    lengths: tuple[int, ...]
    side: int
    params: int
    max_flops_m: float
    training: dict[str, Any]
    speed: StepSpeed


@dataclasses.dataclass(frozen=True)
class Sizing:
    """Chooses a size, and measures it.

    Attributes:
        config, survey, given, begun: of the run.
        measure: times steps of a training with these fields, of the architecture in a best.json.
        because: called with what was decided, to what, and why.
    """

    config: ml_collections.ConfigDict
    survey: Survey
    given: Given
    begun: float
    measure: Measure
    because: Because

    def choose(self) -> Size:
        """The size.

        Raises:
            UserError: for what can't be trained.
        """
        if self.given.lengths:
            return self._as_given()
        asked = self.config.plan
        median = self.survey.sides[1]
        rungs = [rung for rung in RUNGS if rung.least_side <= median] or [RUNGS[0]]
        if asked.lengths:
            rungs = [dataclasses.replace(rung, lengths=tuple(asked.lengths)) for rung in rungs]
        if self.given.best is not None and not asked.lengths:
            rungs = rungs[min(2, len(rungs) - 1) :]
        if asked.max_flops_m:
            rungs = [rung for rung in rungs if rung.max_flops_m >= asked.max_flops_m] or rungs[-1:]
        rung = rungs[0]
        speed = self._measured(rung)
        if self.given.best is None and not asked.max_flops_m:
            rung, speed = self._largest(rungs, speed)
        side = self._side(rung)
        why = "as was asked for" if asked.image_size else f"half of the images have {median} px"
        self.because("images a side", f"{side} px", why)
        why = "as was asked for" if asked.lengths else "the largest size that the time allows"
        self.because("tokens a side", ", ".join(map(str, rung.lengths)), why)
        return Size(
            lengths=rung.lengths,
            side=side,
            params=self.given.params or rung.params,
            max_flops_m=asked.max_flops_m or rung.max_flops_m,
            training=self._training(rung.lengths, side),
            speed=speed,
        )

    def _as_given(self) -> Size:
        """The lengths and the image size that weights or a model were made for."""
        asked = self.config.plan
        lengths = tuple(asked.lengths) or self.given.lengths
        side = asked.image_size or self.given.image_size
        if self.given.model is not None:
            lengths, side = self.given.lengths, self.given.image_size
        training = self._training(lengths, side)
        self.because("images a side", f"{side} px", "as what was given")
        self.because("tokens a side", ", ".join(map(str, lengths)), "by what was given")
        speed = self.measure(training, self.given.best)
        return Size(lengths, side, self.given.params, 0.0, training, speed)

    def _side(self, rung: Rung) -> int:
        return self.config.plan.image_size or side_of(self.survey, rung)

    def _measured(self, rung: Rung) -> StepSpeed:
        values = self._training(rung.lengths, self._side(rung))
        return self.measure(values, self.given.best or rung.best)

    def _largest(self, rungs: Sequence[Rung], speed: StepSpeed) -> tuple[Rung, StepSpeed]:
        """The largest rung that sees the images often enough, and its speed. Rungs are measured in
        turn, as long as the one before, scaled by the work, gives some hope.

        Args:
            speed: of the first.
        """
        wanted = wanted_epochs(self.survey.counts["train"])
        chosen = rungs[0]
        for rung in rungs[1:]:
            scaled = dataclasses.replace(speed, step_s=speed.step_s * rung.work / chosen.work)
            if self._epochs(scaled) < HOPE * wanted:
                break
            measured = self._measured(rung)
            if self._epochs(measured) < wanted:
                break
            chosen, speed = rung, measured
        return chosen, speed

    def _epochs(self, speed: StepSpeed) -> float:
        """How often a training at that speed would see the images."""
        timing = Timing(self.survey.counts, speed, batch_of(self.config, self.survey))
        others = sum(map(timing.seconds, ("assign", "infer", "export", "page")))
        others += timing.fixed_s("search") + timing.fixed_s("train") + timing.tests_s
        left = (1 - SEARCH_SHARE) * (seconds_left(self.config, self.begun) - others)
        return left / timing.epoch_s

    def _training(self, lengths: Sequence[int], side: int) -> dict[str, Any]:
        """Fields of the training, but how long it is."""
        flip = self.config.plan.flip
        mirrored = flip == "yes" or (flip == "auto" and self.survey.source != "digits")
        return {
            "seed": self.config.seed,
            "data.source": self.survey.source,
            "data.train_split": self.survey.train,
            "data.test_split": self.survey.test,
            "data.image_size": side,
            "data.batch_size": batch_of(self.config, self.survey),
            "model.lengths": tuple(lengths),
            "model.patch_size": round(side / max(lengths[-1], 4)),
            "model.pool": "mean",
            "loss.label_smoothing": 0.1,
            "augment.padding": side // 8 if mirrored else 0,
            "augment.flip": mirrored,
            **self.given.training_values,
        }
