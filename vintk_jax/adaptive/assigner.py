"""A trained Token-Length Assigner: when it is asked, what it reads, what it costs, and which length
follows.

There are two kinds. A `thumbnail_assigner.ThumbnailAssigner` is asked once, before any pass. A
`feature_assigner.FeatureAssigner` is asked after a pass, at several stages perhaps, and reads what
that pass knows of the image. `assigner_kinds` makes either.
"""

import abc
import dataclasses
from collections.abc import Callable, Hashable
from typing import Any

import flax.linen as nn
import numpy as np
from jaxtyping import Float

from vintk_jax.adaptive import policies
from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.assigner_networks import chances
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.adaptive.policies import Outcomes
from vintk_jax.inference.plan import Plan
from vintk_jax.inference.plans import Plans
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

    @property
    def program_key(self) -> tuple[Hashable, ...]:
        """What its programs depend on beside their arguments (`Plans.program`): not on weights, nor
        on the price.
        """
        return type(self), self.module, self.target, self.thumbnail, self.costs

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
