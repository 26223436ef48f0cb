"""The rules by which a plan is made.

All are our choices. The time that is allowed is divided so: a tenth is kept back, what every stage
takes whatever its size and the passes of assigning and comparing come off (`timing`), a search gets
at most a fifth of the rest, and the training all that is left. Of the sizes in `rungs.RUNGS` the
largest is taken that then sees the images often enough (`sizing.wanted_epochs`). The machine's
speed is measured at the smallest size, and at larger ones as long as they may be within reach.
"""

import abc
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
import psutil

from vintk_jax.adapting import refusals
from vintk_jax.adapting.given import Given
from vintk_jax.adapting.machine import ScoringSpeed, StepSpeed
from vintk_jax.adapting.plan import STAGES, Plan
from vintk_jax.adapting.rungs import SPACE
from vintk_jax.adapting.sizing import KEPT_BACK, SEARCH_SHARE, Size, Sizing, seconds_left
from vintk_jax.adapting.survey import Survey
from vintk_jax.adapting.timing import COMPARED, ROUNDS, TESTS, Timing, disk_bytes
from vintk_jax.errors import UserError
from vintk_jax.spaces.vit_mini import PATCH

MOST_CANDIDATES = 300
LEAST_CANDIDATES = 12
SCORED_ON = 32  # images in a kernel
MOST_EPOCHS = 150.0
LEAST_STEPS = 200
PREDICTED = 64  # images in a batch of assigning and comparing
SPARE_MEMORY = 1.2


class Machine(abc.ABC):
    """What measures."""

    @abc.abstractmethod
    def step(self, values: dict[str, Any], best: dict[str, Any] | None) -> StepSpeed:
        """Of a training with these fields, of the architecture in a best.json."""

    @abc.abstractmethod
    def scoring(self, values: dict[str, Any]) -> ScoringSpeed:
        """Of a search with these fields."""


@dataclasses.dataclass
class Planner:
    """Makes a plan.

    Attributes:
        config: of the run.
        survey: the images.
        given: what needs no stage.
        machine: measures.
        begun: when the run was begun, by `time.monotonic`.
        reasons: what was decided, to what and why, so far.
    """

    config: ml_collections.ConfigDict
    survey: Survey
    given: Given
    machine: Machine
    begun: int | float
    reasons: list[tuple[str, str, str]] = dataclasses.field(default_factory=list)

    def plan(self) -> Plan:
        """Decide.

        Raises:
            UserError: for too little time, or what can't be trained.
        """
        counts = self.survey.counts
        self._because(
            "images",
            f"{counts['train']:,} to train on, {counts['labels']:,} to learn lengths from, "
            f"{counts['test']:,} to measure on",
            f"{self.survey.train}, {self.survey.labels} and {self.survey.test} of "
            f"{self.survey.source}",
        )
        size = Sizing(
            self.config, self.survey, self.given, self.begun, self.machine.step, self._because
        ).choose()
        timing = Timing(counts, size.speed, size.training["data.batch_size"])
        seconds = {stage: timing.seconds(stage) for stage in ("assign", "infer", "export", "page")}
        measured: dict[str, Any] = {"train": dataclasses.asdict(size.speed)}
        memory = size.speed.memory
        values: dict[str, dict[str, Any]] = {}
        left = seconds_left(self.config, self.begun) - sum(seconds.values())
        if self.given.model is None:
            left -= timing.fixed_s("train")
        if self.given.searches:
            values["search"], scoring = self._search(size, left - timing.fixed_s("search"))
            scored_s = values["search"]["search.num_candidates"] * scoring.candidate_s
            seconds["search"] = timing.fixed_s("search") + scored_s
            left -= seconds["search"]
            measured["search"] = dataclasses.asdict(scoring)
            memory = max(memory, scoring.memory)
        if self.given.model is None:
            values["train"] = self._train(size, timing, left)
            steps_s = values["train"]["optimizer.epochs"] * timing.epoch_s + timing.tests_s
            seconds["train"] = timing.fixed_s("train") + steps_s
        return Plan(
            survey=self.survey,
            image_size=size.side,
            lengths=size.lengths,
            values=values | self._others(),
            seconds={name: round(seconds[name], 1) for name in STAGES if name in seconds},
            memory=int(SPARE_MEMORY * memory),
            disk=disk_bytes(counts, size.params, len(size.lengths), self.survey.classes),
            reasons=tuple(self.reasons),
            measured=measured,
        )

    def _because(self, what: str, value: str, why: str) -> None:
        self.reasons.append((what, value, why))

    def _search(self, size: Size, left: int | float) -> tuple[dict[str, Any], ScoringSpeed]:
        """Fields of the search, and the speed of scoring.

        Args:
            left: seconds for scoring and training together.
        """
        asked = self.config.plan
        values = {
            "seed": self.config.seed,
            "space": SPACE,
            "inputs.source": "photos" if self.survey.source == "digits" else self.survey.source,
            "inputs.image_size": PATCH * size.lengths[0],
            "inputs.num_images": min(SCORED_ON, self.survey.counts["train"]),
            "limits.max_flops_m": size.max_flops_m,
        }
        speed = self.machine.scoring(values)
        count = asked.candidates
        why = "as was asked for"
        if not count:
            affordable = int(SEARCH_SHARE * left / speed.candidate_s)
            count = min(max(affordable, LEAST_CANDIDATES), MOST_CANDIDATES)
            why = f"a fifth of the time at most, {speed.candidate_s:.2f} s each"
        values["search.num_candidates"] = count
        values["search.population"] = max(min(50, count // 4), 2)
        self._because("architectures scored", f"{count:,}", why)
        why = "as was asked for" if asked.max_flops_m else "the largest size that the time allows"
        self._because("multiply-adds at most", f"{size.max_flops_m:g} M at 64 px", why)
        return values, speed

    def _train(self, size: Size, timing: Timing, left: int | float) -> dict[str, Any]:
        """Fields of the training.

        Args:
            left: seconds for its steps and measurements.
        """
        epochs = self.config.plan.epochs
        why = "as was asked for"
        if not epochs:
            epochs = round(min((left - timing.tests_s) / timing.epoch_s, MOST_EPOCHS), 2)
            self._refuse_short(epochs, timing, left)
            why = f"what the time allows, {timing.speed.step_s * 1000:.0f} ms a step"
            if epochs == MOST_EPOCHS:
                why = "more change little"
        self._because("passes over the images", f"{epochs:g}", why)
        often = max(round(epochs / TESTS, 2), 0.01)
        return {
            **size.training,
            "optimizer.epochs": epochs,
            "checkpoints.every_epochs": often,
        }

    def _refuse_short(self, epochs: int | float, timing: Timing, left: int | float) -> None:
        """Too little time for anything useful."""
        least = max(LEAST_STEPS / timing.steps_an_epoch, 1.0)
        if epochs >= least:
            return
        more = least * timing.epoch_s + timing.tests_s - left
        hours = self.config.time_h + more / ((1 - KEPT_BACK) * (1 - SEARCH_SHARE) * 3600)
        raise UserError(
            f"time_h={self.config.time_h:g} is too little for anything useful: the stages other "
            f"than training take most of it, and {max(epochs, 0):.2f} passes over the "
            f"{self.survey.counts['train']:,} images are left; {least:.2g} are the least. Allow "
            f"--config.time_h={math.ceil(100 * hours) / 100:g}, or take fewer images."
        )

    def _others(self) -> dict[str, dict[str, Any]]:
        """Fields of the stages behind the training."""
        assign = {
            "seed": self.config.seed,
            "labels.split": self.survey.labels,
            "tla.batch_size": max(min(128, self.survey.counts["labels"] // 4), 1),
            "data.batch_size": PREDICTED,
            **{f"budget.{name}": value for name, value in self.config.budget.items()},
        }
        infer = {**assign, "compare.images": COMPARED, "compare.rounds": ROUNDS}
        export = {"formats": ("huggingface", "stablehlo"), "license": self.config.license}
        return {"assign": assign, "infer": infer, "export": export}


def make_plan(
    config: ml_collections.ConfigDict,
    survey: Survey,
    given: Given,
    machine: Machine,
    workdir: Path,
    begun: int | float,
    free_memory: Callable[[], int] | None = None,
) -> Plan:
    """A plan that fits the time, the disk and the memory.

    Raises:
        UserError: where none does.
    """
    plan = Planner(config, survey, given, machine, begun).plan()
    refusals.refuse_without_space(workdir, plan.disk)
    free = free_memory() if free_memory else psutil.virtual_memory().available
    refusals.refuse_without_memory(plan.memory, free)
    return plan
