"""The rules by which a plan is made.

All are our choices. The time that is allowed is divided so: a tenth is kept back, what every stage
takes whatever its size (`FIXED_S`) and the passes of assigning and comparing come off, a search
gets at most a fifth of the rest, and the training all that is left. Of the sizes in `rungs.RUNGS`
the largest is taken that then sees the images `wanted_epochs` times. The machine's speed is
measured at the smallest size, and again at the one that is taken.
"""

import abc
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ml_collections
import psutil

from vintk_jax.adapting import refusals
from vintk_jax.adapting.given import Given
from vintk_jax.adapting.machine import ScoringSpeed, StepSpeed
from vintk_jax.adapting.plan import Plan
from vintk_jax.adapting.rungs import RUNGS, SPACE, Rung
from vintk_jax.adapting.survey import Survey
from vintk_jax.errors import UserError
from vintk_jax.spaces.vit_mini import PATCH

KEPT_BACK = 0.1
SEARCH_SHARE = 0.2
MOST_CANDIDATES = 300
LEAST_CANDIDATES = 12
SCORED_ON = 32  # images in a kernel
BATCH = 64
SIDES = (32, 48, 64, 96, 112, 160, 224)  # pixels
MOST_EPOCHS = 150.0
LEAST_STEPS = 200
COMPARED = 2000  # images
ROUNDS = 3
METHODS = 14  # that the comparison runs, about
# Seconds of a stage whatever its size, where a training's step compiles in `REFERENCE_COMPILE_S`:
# starting Python, compiling, writing. Measured on 2 cores (docs/adapt.md).
FIXED_S = {"search": 20, "train": 15, "assign": 25, "infer": 35, "export": 12, "page": 8}
REFERENCE_COMPILE_S = 8.0


class Machine(abc.ABC):
    """What measures."""

    @abc.abstractmethod
    def step(self, values: dict[str, Any], best: dict[str, Any] | None) -> StepSpeed:
        """Of a training with these fields, of the architecture in a best.json."""

    @abc.abstractmethod
    def scoring(self, values: dict[str, Any]) -> ScoringSpeed:
        """Of a search with these fields."""


def wanted_epochs(images: int) -> float:
    """How often a training should see its images before a larger model is worth it: 400,000 in
    all, 10 times at least and 60 at most.
    """
    return min(max(400_000 / images, 10.0), 60.0)


def side_of(survey: Survey, rung: Rung) -> int:
    """Pixels a side that images are shown at: the largest of `SIDES` that half of the images have,
    and no more than 16 for each token.
    """
    most = min(survey.sides[1], 16 * rung.lengths[0])
    fitting = [side for side in SIDES if side <= most]
    return max(fitting, default=SIDES[0])


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
        values: dict[str, dict[str, Any]] = {}
        seconds: dict[str, float] = {}
        measured: dict[str, Any] = {}
        self._because(
            "images",
            " + ".join(f"{count:,} to {_FOR[name]}" for name, count in self.survey.counts.items()),
            f"{self.survey.train}, {self.survey.labels} and {self.survey.test} of "
            f"{self.survey.source}",
        )
        if self.given.model is not None:
            training = self.given.training
            size = training.data.image_size
            lengths = tuple(training.model.lengths)
            pass_s = 0.002 * math.prod(lengths[:1]) / 4
            slow = 1.0
            memory = 2**30
            params = 0
        else:
            rung, size, speed = self._size()
            lengths = rung.lengths
            slow = max(speed.compile_s / REFERENCE_COMPILE_S, 0.5)
            pass_s = speed.step_s / (3 * self._batch)
            measured["train"] = dataclasses.asdict(speed)
            memory = speed.memory
            params = self.given.params or rung.params
        fixed = {name: slow * taken for name, taken in FIXED_S.items()}
        seconds["assign"] = fixed["assign"] + self._assign_s(pass_s)
        seconds["infer"] = fixed["infer"] + self._infer_s(pass_s)
        seconds["export"] = fixed["export"]
        seconds["page"] = fixed["page"]
        if self.given.model is None:
            left = self._left_s() - sum(seconds.values()) - fixed["train"]
            if self.given.searches:
                values["search"], seconds["search"], scoring = self._search(
                    rung, left - fixed["search"], fixed["search"]
                )
                left -= seconds["search"]
                measured["search"] = dataclasses.asdict(scoring)
                memory = max(memory, scoring.memory)
            values["train"], steps_s = self._train(rung, size, speed, left)
            seconds["train"] = fixed["train"] + steps_s
        values["assign"] = self._assign()
        values["infer"] = {**values["assign"], **self._infer()}
        values["export"] = {"formats": ("huggingface", "stablehlo")}
        if self.config.license:
            values["export"]["license"] = self.config.license
        order = [name for name in ("search", *FIXED_S) if name in seconds]
        return Plan(
            survey=self.survey,
            image_size=size,
            lengths=lengths,
            values=values,
            seconds={name: round(seconds[name], 1) for name in dict.fromkeys(order)},
            memory=int(1.2 * memory),
            disk=self._disk(params, lengths),
            reasons=tuple(self.reasons),
            measured=measured,
        )

    def _because(self, what: str, value: str, why: str) -> None:
        self.reasons.append((what, value, why))

    def _left_s(self) -> float:
        """Seconds that may still be planned with."""
        allowed = (1 - KEPT_BACK) * 3600 * self.config.time_h
        return allowed - (time.monotonic() - self.begun)

    @property
    def _batch(self) -> int:
        chosen = self.config.plan.batch_size
        return chosen or max(min(BATCH, self.survey.counts["train"] // 4), 2)

    def _size(self) -> tuple[Rung, int, StepSpeed]:
        """The rung, the image's side, and the speed there."""
        asked = self.config.plan
        if self.given.weights is not None:
            return self._size_of_weights()
        fitting = [rung for rung in RUNGS if rung.least_side <= self.survey.sides[1]] or [RUNGS[0]]
        if asked.lengths:
            fitting = [dataclasses.replace(rung, lengths=tuple(asked.lengths)) for rung in fitting]
        first = fitting[0]
        speed = self._step(first, self._side(first))
        rung = first
        if self.given.arch is None and not asked.max_flops_m:
            rung = self._largest(fitting, speed)
        elif self.given.arch is not None and not asked.lengths:
            rung = fitting[min(2, len(fitting) - 1)]
        side = self._side(rung)
        if rung is not first:
            speed = self._step(rung, side)
        self._because(
            "images a side", f"{side} px", f"half of the images have {self.survey.sides[1]} px"
        )
        self._because(
            "tokens a side",
            ", ".join(map(str, rung.lengths)),
            "the largest size that the time allows" if not asked.lengths else "as was asked for",
        )
        return rung, side, speed

    def _size_of_weights(self) -> tuple[Rung, int, StepSpeed]:
        model = self.given.weights
        lengths = tuple(self.config.plan.lengths) or model.lengths
        rung = dataclasses.replace(RUNGS[0], lengths=lengths)
        side = self.config.plan.image_size or model.image_size
        speed = self._step(rung, side)
        self._because("images a side", f"{side} px", "as the weights were trained at")
        self._because(
            "tokens a side", ", ".join(map(str, lengths)), "the file's, seven and five tenths of it"
        )
        return rung, side, speed

    def _side(self, rung: Rung) -> int:
        return self.config.plan.image_size or side_of(self.survey, rung)

    def _step(self, rung: Rung, side: int) -> StepSpeed:
        values = {**self._training(rung, side), **self.given.training_values}
        best = self.given.best or (None if self.given.weights is not None else rung.best)
        return self.machine.step(values, best)

    def _largest(self, rungs: Sequence[Rung], speed: StepSpeed) -> Rung:
        """The largest rung that sees the images often enough, by the speed of the smallest."""
        wanted = wanted_epochs(self.survey.counts["train"])
        chosen = rungs[0]
        for rung in rungs:
            step_s = speed.step_s * rung.work / rungs[0].work
            pass_s = step_s / (3 * self._batch)
            others = sum(FIXED_S.values()) + self._assign_s(pass_s) + self._infer_s(pass_s)
            left = (1 - SEARCH_SHARE) * (self._left_s() - others)
            if left / (step_s * self._steps_an_epoch) >= wanted:
                chosen = rung
        return chosen

    @property
    def _steps_an_epoch(self) -> int:
        return max(self.survey.counts["train"] // self._batch, 1)

    def _training(self, rung: Rung, side: int) -> dict[str, Any]:
        """Fields of the training, but how long it is."""
        flip = self.config.plan.flip
        mirrored = flip == "yes" or (flip == "auto" and self.survey.source != "digits")
        return {
            "seed": self.config.seed,
            "data.source": self.survey.source,
            "data.train_split": self.survey.train,
            "data.test_split": self.survey.test,
            "data.image_size": side,
            "data.batch_size": self._batch,
            "model.lengths": rung.lengths,
            "model.patch_size": round(side / max(rung.lengths[-1], 4)),
            "model.pool": "mean",
            "loss.label_smoothing": 0.1,
            "augment.padding": side // 8 if mirrored else 0,
            "augment.flip": mirrored,
        }

    def _train(
        self, rung: Rung, side: int, speed: StepSpeed, left: int | float
    ) -> tuple[dict[str, Any], float]:
        """Fields of the training, and the seconds of its steps and evaluations."""
        test_s = self.survey.counts["test"] * speed.step_s / (3 * self._batch)
        tests = 10
        epoch_s = self._steps_an_epoch * speed.step_s
        epochs = self.config.plan.epochs
        why = "as was asked for"
        if not epochs:
            epochs = min((left - tests * test_s) / epoch_s, MOST_EPOCHS)
            self._refuse_short(epochs, epoch_s, left, tests * test_s)
            epochs = round(epochs, 2)
            why = (
                "more change little"
                if epochs == MOST_EPOCHS
                else f"what the time allows, {speed.step_s * 1000:.0f} ms a step"
            )
        self._because("passes over the images", f"{epochs:g}", why)
        values = {
            **self._training(rung, side),
            "optimizer.epochs": epochs,
            "checkpoints.every_epochs": max(round(epochs / tests, 2), 0.01),
            **self.given.training_values,
        }
        return values, epochs * epoch_s + tests * test_s

    def _refuse_short(
        self, epochs: int | float, epoch_s: int | float, left: int | float, tests_s: int | float
    ) -> None:
        """Too little time for anything useful."""
        least = max(LEAST_STEPS / self._steps_an_epoch, 1.0)
        if epochs >= least:
            return
        more = least * epoch_s + tests_s - left
        hours = self.config.time_h + more / ((1 - KEPT_BACK) * 3600)
        raise UserError(
            f"time_h={self.config.time_h:g} is too little for anything useful: the stages other "
            f"than training take most of it, and {max(epochs, 0):.2f} passes over the "
            f"{self.survey.counts['train']:,} images are left; {least:.2g} are the least. Allow "
            f"--config.time_h={math.ceil(100 * hours) / 100:g}, or take fewer images."
        )

    def _search(
        self, rung: Rung, left: int | float, fixed: int | float
    ) -> tuple[dict[str, Any], float, ScoringSpeed]:
        """Fields of the search, its seconds, and the speed of scoring."""
        kind = self.survey.source.partition(":")[0]
        limit = self.config.plan.max_flops_m or rung.max_flops_m
        values = {
            "seed": self.config.seed,
            "space": SPACE,
            "inputs.source": "photos" if kind == "digits" else self.survey.source,
            "inputs.image_size": PATCH * rung.lengths[0],
            "inputs.num_images": min(SCORED_ON, self.survey.counts["train"]),
            "limits.max_flops_m": limit,
        }
        speed = self.machine.scoring(values)
        count = self.config.plan.candidates
        why = "as was asked for"
        if not count:
            affordable = int(SEARCH_SHARE * left / speed.candidate_s)
            count = min(max(affordable, LEAST_CANDIDATES), MOST_CANDIDATES)
            why = f"a fifth of the time at most, {speed.candidate_s:.2f} s each"
        values["search.num_candidates"] = count
        values["search.population"] = max(min(50, count // 4), 2)
        self._because("architectures scored", f"{count:,}", why)
        self._because(
            "multiply-adds at most",
            f"{limit:g} M at 64 px",
            "the largest size that the time allows"
            if not self.config.plan.max_flops_m
            else "as was asked for",
        )
        return values, fixed + count * speed.candidate_s, speed

    def _assign(self) -> dict[str, Any]:
        """Fields of assigning, and of the comparison alike."""
        labels = self.survey.counts["labels"]
        return {
            "seed": self.config.seed,
            "labels.split": self.survey.labels,
            "tla.batch_size": max(min(128, labels // 4), 1),
            "data.batch_size": BATCH,
            **{f"budget.{name}": value for name, value in self.config.budget.items()},
        }

    def _infer(self) -> dict[str, Any]:
        return {"compare.images": COMPARED, "compare.rounds": ROUNDS}

    def _assign_s(self, pass_s: int | float) -> float:
        """Passes over the held-out images and some that were trained on; the assigners' steps."""
        counts = self.survey.counts
        steps = 6 * 2 * 20 * counts["labels"] / 128
        return (counts["labels"] + min(counts["train"], 2000)) * pass_s + 0.003 * steps

    def _infer_s(self, pass_s: int | float) -> float:
        """All test images once, at every length; some of them by every method."""
        test = self.survey.counts["test"]
        compared = min(test, COMPARED)
        return (2 * test + METHODS * ROUNDS * compared * 0.4) * pass_s

    def _disk(self, params: int, lengths: Sequence[int]) -> int:
        """Three checkpoints with their optimisers, the exported weights, what the model answered,
        and 30 MB of logs and pages.
        """
        counts = self.survey.counts
        answered = counts["labels"] + min(counts["train"], 2000) + counts["test"]
        of_image = 4 * len(lengths) * (self.survey.classes + 500)
        return 30_000_000 + 3 * 12 * params + 4 * 4 * params + answered * of_image


_FOR = {"train": "train on", "labels": "learn lengths from", "test": "measure on"}


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
