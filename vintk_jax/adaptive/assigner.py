"""A trained Token-Length Assigner: when it is asked, what it reads, what it costs, and which length
follows.

There are two kinds. A `ThumbnailAssigner` is asked once, before any pass. A `FeatureAssigner` is
asked after a pass, at several stages perhaps, and reads what that pass knows of the image.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vintk_jax.adaptive import policies
from vintk_jax.adaptive.answers import Answers, features_of, thumbnails
from vintk_jax.adaptive.assigner_networks import chances, make, reads_features
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.adaptive.policies import Outcomes
from vintk_jax.inference.plan import DONE, Plan, Step
from vintk_jax.inference.plans import Plans
from vintk_jax.multiply_adds import multiply_adds
from vintk_jax.workdir.checkpoints import checksum

Chances = Float[np.ndarray, "n stages lengths"]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One time that an assigner is asked, as a program by itself.

    Attributes:
        name: of the program.
        choose: (params, inputs) -> (the number of the next length,).
        params: the network's variables.
        after: the length whose pass gives the inputs; None for a stage that reads images.
    """

    name: str
    choose: Callable[[Any, Any], tuple[Any]]
    params: Any
    after: int | None


@dataclasses.dataclass(frozen=True)
class Assigner(abc.ABC):
    """What both kinds have.

    Attributes:
        module: its network, see `assigner_networks`.
        params: the network's variables at each stage; () until it is trained.
        target: what the network's outputs stand for, one of `assigner_networks.TARGETS`.
        thumbnail: pixels a side of a thumbnail.
        earlier_weight: weight of what an earlier pass answered in what a longer one answers; 0 for
            a `ThumbnailAssigner`, with which there is one pass.
        costs: of running each length, cheapest first, as shares of the longest's
            (`Plans.costs`).
        price: of the longest length, in right answers (`policies.by_price`).
        start: the length that is run first; 0 for a `ThumbnailAssigner`, which chooses it.
    """

    module: nn.Module
    params: tuple[Any, ...]
    target: str
    thumbnail: int
    earlier_weight: float
    costs: tuple[float, ...]
    price: float = 0.0
    start: int = 0

    def at(self, point: Point) -> "Assigner":
        """The same at a setting of a calibration."""
        return dataclasses.replace(self, price=point.setting, start=point.start)

    @property
    def identity(self) -> str:
        """A checksum of its weights and setting."""
        return f"{checksum((self.params, np.float64(self.price), np.int64(self.start))):08x}"

    def chances(self, params: Any, inputs: Any) -> Any:
        """Chances of being right at each length, cheapest first.

        Args:
            params: those of a stage.
            inputs: features or thumbnails.
        """
        return chances(self.module.apply(params, inputs), self.target)

    def choose(self, params: Any, price: Any, inputs: Any, at: int | None) -> Any:
        """The number of the next length (`policies.by_price`), as part of a compiled program.

        Args:
            at: the length that has been run; None before any pass.
        """
        return policies.by_price(self.chances(params, inputs), self.costs, price, at)

    @abc.abstractmethod
    def num_stages(self, again: bool) -> int:
        """How often it is asked.

        Args:
            again: whether it is asked after longer passes, too, where it is asked after passes.
        """

    @abc.abstractmethod
    def inputs(self, answers: Answers, stage: int) -> np.ndarray:
        """What it reads of images whose answers are known."""

    @property
    @abc.abstractmethod
    def first_lengths(self) -> tuple[int, ...]:
        """The values of `start` that a calibration tries."""

    @abc.abstractmethod
    def outcomes(
        self, answers: Answers, chances: Chances, price: int | float, start: int = 0
    ) -> Outcomes:
        """What images with known answers come to at a price, from a first length."""

    @abc.abstractmethod
    def plan(self, plans: Plans) -> Plan:
        """What the engine runs."""

    @abc.abstractmethod
    def multiply_adds(self, plans: Plans) -> int:
        """Multiply-adds of one stage, without the pass before it."""

    @abc.abstractmethod
    def paid(self, plans: Plans) -> tuple[float, Float[np.ndarray, " lengths"]]:
        """Multiply-adds ahead of any pass, and of a pass at each length, cheapest first, with the
        stage after it.
        """

    def stage_costs(self, plans: Plans) -> tuple[float, Float[np.ndarray, " lengths"]]:
        """What its stages cost ahead of any pass, and after a pass at each length, as shares of the
        longest length's: by multiply-adds, of which they are few.
        """
        longest = plans.paid[-1]
        first, passes = self.paid(plans)
        return first / longest, (passes - self._passes(plans)) / longest

    @abc.abstractmethod
    def _passes(self, plans: Plans) -> Float[np.ndarray, " lengths"]:
        """Multiply-adds of an image that goes to each length, without stages."""

    @abc.abstractmethod
    def paid_by_step(self, plans: Plans) -> tuple[float, ...]:
        """Multiply-adds of an image at each step of `plan`."""

    @abc.abstractmethod
    def stages(self) -> list[Stage]:
        """The stages as programs, for an export."""


class ThumbnailAssigner(Assigner):
    """Reads a thumbnail of the image, once, before any pass."""

    def num_stages(self, again: bool) -> int:
        """One."""
        return 1

    def inputs(self, answers: Answers, stage: int) -> np.ndarray:
        """Thumbnails."""
        return answers.thumbnails

    @property
    def first_lengths(self) -> tuple[int, ...]:
        """One: it is asked before any pass."""
        return (0,)

    def outcomes(
        self, answers: Answers, chances: Chances, price: int | float, start: int = 0
    ) -> Outcomes:
        """Each image at the one length that it is given."""
        first = policies.by_price(chances[:, 0], self.costs, price, None)
        return policies.simulate(answers.probabilities, first, policies.stay, 0.0)

    def plan(self, plans: Plans) -> Plan:
        """The assigner as the first step, then one pass at the length that it chose."""

        @jax.jit
        def choose(params, price, images):
            return (self.choose(params, price, thumbnails(images, self.thumbnail), None),)

        def run(images):
            return choose(self.params[0], self.price, images)

        # The assigner itself is step 0.
        lengths, starts = plans.one_each(at=1)

        def follow(outputs):
            return starts[outputs[0]]

        return Plan([Step("", run, follow), *lengths])

    def multiply_adds(self, plans: Plans) -> int:
        """Of a thumbnail and the network."""

        def stage(params, image):
            return self.chances(params, thumbnails(image, self.thumbnail))

        return multiply_adds(stage, self.params[0], plans.image)

    def paid(self, plans: Plans) -> tuple[float, Float[np.ndarray, " lengths"]]:
        """The stage comes ahead of any pass."""
        return float(self.multiply_adds(plans)), plans.paid_alone

    def _passes(self, plans: Plans) -> Float[np.ndarray, " lengths"]:
        return plans.paid_alone

    def paid_by_step(self, plans: Plans) -> tuple[float, ...]:
        """The stage, then each length's steps."""
        return (float(self.multiply_adds(plans)), *plans.paid_one_each)

    def stages(self) -> list[Stage]:
        """One, on images."""
        price = jnp.float32(self.price)

        def choose(params, images):
            return (self.choose(params, price, thumbnails(images, self.thumbnail), None),)

        return [Stage("assigner", choose, self.params[0], None)]


class FeatureAssigner(Assigner):
    """Reads what the passes know of the image; their answers stand where they suffice."""

    def num_stages(self, again: bool) -> int:
        """After every pass but the longest's, or after the first only."""
        return len(self.costs) - 1 if again else 1

    def inputs(self, answers: Answers, stage: int) -> np.ndarray:
        """Features of the pass before the stage."""
        return answers.features[:, stage]

    @property
    def first_lengths(self) -> tuple[int, ...]:
        """Every length with a stage, and the longest: from there nobody is asked, so that no budget
        is out of reach.
        """
        return (*range(len(self.params)), len(self.costs) - 1)

    def outcomes(
        self, answers: Answers, chances: Chances, price: int | float, start: int = 0
    ) -> Outcomes:
        """Each image on from length to length while the assigner says so."""

        def decide(at, known):
            if at >= chances.shape[1]:
                return policies.stay(at, known)
            return policies.by_price(chances[:, at], self.costs, price, at)

        first = np.full(len(chances), start)
        return policies.simulate(answers.probabilities, first, decide, self.earlier_weight)

    def plan(self, plans: Plans) -> Plan:
        """A stage after each pass that has one; the longer lengths answer alone."""
        steps = [self._step(plans, number) for number in range(len(self.params))]
        for number in range(len(self.params), len(plans.names)):
            steps.append(plans.last_step(number, self._weight_at(number)))

        def first(places):
            return np.full(len(places), self.start)

        return Plan(steps, first)

    def _weight_at(self, number: int) -> float:
        return self.earlier_weight if number > self.start else 0.0

    def _step(self, plans: Plans, number: int) -> Step:
        """A pass at a length, and the assigner's stage after it."""
        length = plans.lengths[number]
        pass_and_stage = self._pass_and_stage(plans, number)

        @jax.jit
        def program(variables, params, price, *inputs):
            def run(inputs):
                return pass_and_stage(variables, params, price, *inputs)

            return length.in_pieces(run, inputs)

        variables = length.variables
        params = self.params[number]

        def run(*inputs):
            return program(variables, params, self.price, *inputs)

        def follow(outputs):
            return np.where(outputs[1] == number, DONE, outputs[1])

        return Step(
            plans.names[number],
            run,
            follow,
            self._weight_at(number),
            plans.carries(number),
            plans.takes(number),
        )

    def _pass_and_stage(self, plans: Plans, number: int) -> Callable:
        """A function (the length's variables, params, price, images[, carried]) -> probabilities,
        the number of the length to go on to[, carried].
        """

        def run(variables, params, price, *inputs):
            probabilities, tokens = plans.lengths[number].own_pass(variables, *inputs)
            chosen = self.choose(params, price, features_of(probabilities, tokens), number)
            return (probabilities, chosen, *([tokens] if plans.carries(number) else []))

        return run

    def multiply_adds(self, plans: Plans) -> int:
        """Of features and the network: a pass with its stage, less the pass."""
        both = multiply_adds(
            self._pass_and_stage(plans, 0),
            plans.lengths[0].variables,
            self.params[0],
            0.0,
            plans.image,
        )
        return both - plans.multiply_adds[plans.names[0]]

    def paid(self, plans: Plans) -> tuple[float, Float[np.ndarray, " lengths"]]:
        """Nothing ahead of the first pass."""
        has_stage = np.arange(len(plans.paid)) < len(self.params)
        return 0.0, plans.paid + self.multiply_adds(plans) * has_stage

    def _passes(self, plans: Plans) -> Float[np.ndarray, " lengths"]:
        return plans.paid

    def paid_by_step(self, plans: Plans) -> tuple[float, ...]:
        """Each length, with its stage."""
        return tuple(self.paid(plans)[1])

    def stages(self) -> list[Stage]:
        """One after each pass that has one, on features."""
        price = jnp.float32(self.price)

        def choose_at(number: int) -> Callable:
            def choose(params, features):
                return (self.choose(params, price, features, number),)

            return choose

        return [
            Stage(f"assigner-{number}", choose_at(number), params, number)
            for number, params in enumerate(self.params)
        ]


def make_assigner(
    kind: str,
    width: int,
    target: str,
    thumbnail: int,
    earlier_weight: int | float,
    costs: tuple[float, ...],
    costs_alone: tuple[float, ...] | None = None,
) -> Assigner:
    """An assigner that isn't trained yet.

    Args:
        kind: of its network, one of `assigner_networks.KINDS`.
        width: of the network's layers.
        earlier_weight: see `Assigner`; only one that reads features has it.
        costs: see `Assigner`; costs_alone: with the passes that lengths begin with, for one that is
            asked before any; None where each is one pass.

    Raises:
        UserError: for another kind, or sizes that don't fit.
    """
    module = make(kind, len(costs), width, thumbnail)
    if reads_features(module):
        return FeatureAssigner(module, (), target, thumbnail, earlier_weight, tuple(costs))
    costs = costs if costs_alone is None else costs_alone
    return ThumbnailAssigner(module, (), target, thumbnail, 0.0, tuple(costs))
