"""A plan in which each image has a setting of its own: a price of tokens and a first length, or one
length and no other. Images of all settings share batches, and one program a length serves them all.

`inference.tickets` runs it.
"""

import dataclasses
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from vintk_jax.adaptive import policies
from vintk_jax.adaptive.answers import features_of, thumbnails
from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.adaptive.feature_assigner import FeatureAssigner
from vintk_jax.inference.plan import DONE, Plan, Step
from vintk_jax.inference.plans import Plans

# Of a token, in right answers: staying costs nothing, and no chance is worth going on.
_STAYS = 1e6


@dataclasses.dataclass(frozen=True)
class Setting:
    """How an image is treated.

    Attributes:
        start: the length that comes first.
        price: of the longest length, in right answers.
        fixed: whether `start` is the only length, and no assigner is asked.
    """

    start: int
    price: float = 0.0
    fixed: bool = False


class Settings:
    """Numbers for settings, in the order in which they come up. May be used by several threads."""

    def __init__(self):
        self._numbers: dict[Setting, int] = {}
        self._lock = threading.Lock()
        self._starts = np.zeros(0, int)
        self._prices = np.zeros(0, np.float32)
        self._fixed = np.zeros(0, bool)

    def number(self, setting: Setting) -> int:
        """Of a setting; the same each time."""
        with self._lock:
            if setting not in self._numbers:
                self._numbers[setting] = len(self._numbers)
                known = list(self._numbers)
                self._starts = np.array([one.start for one in known])
                price = [_STAYS if one.fixed else one.price for one in known]
                self._prices = np.array(price, np.float32)
                self._fixed = np.array([one.fixed for one in known])
            return self._numbers[setting]

    def starts(self, numbers: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """First lengths."""
        return self._starts[numbers]

    def prices(self, numbers: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Prices; such that nobody goes on where the length is fixed."""
        return self._prices[numbers]

    def fixed(self, numbers: Int[np.ndarray, " n"]) -> np.ndarray:
        """Whether the first length is the only one."""
        return self._fixed[numbers]


def plan_by_setting(plans: Plans, assigner: Assigner | None, settings: Settings) -> Plan:
    """What a `Tickets` engine runs.

    Args:
        assigner: at no setting in particular; None: every image is answered at its first length.
        settings: what the numbers mean that images come with.
    """
    if assigner is None:
        steps, starts = plans.one_each()
        return Plan(steps, lambda numbers: starts[settings.starts(numbers)])
    if isinstance(assigner, FeatureAssigner):
        asked = range(len(assigner.params))
        steps = [_asked_after(plans, assigner, settings, number) for number in asked]
        for number in range(len(assigner.params), len(plans.names)):
            steps.append(plans.last_step(number, assigner.earlier_weight))
        starts = np.arange(len(steps))
        for number, before in enumerate(plans.begins_at):
            if before != number:
                starts[number] = len(steps)
                steps.append(plans.opening(number, number))
        return Plan(steps, lambda numbers: starts[settings.starts(numbers)])
    lengths, starts = plans.one_each(at=1)
    steps = [_asked_before(assigner, settings, starts), *lengths]

    def first(numbers: np.ndarray) -> np.ndarray:
        return np.where(settings.fixed(numbers), starts[settings.starts(numbers)], 0)

    return Plan(steps, first)


def lengths_of_steps(plan: Plan, names: Sequence[str]) -> Int[np.ndarray, " steps"]:
    """The length of each step of a plan; -1 for one that can't answer."""
    return np.array([names.index(step.name) if step.name else -1 for step in plan.steps])


def _next(
    chances: np.ndarray, assigner: Assigner, prices: np.ndarray, at: int | None
) -> Int[np.ndarray, " n"]:
    """The next length of each image, by its own price, in single precision as on the device."""
    costs = np.array(assigner.costs, np.float32)
    return policies.by_price(chances, costs, prices[:, None], at)


def _asked_after(plans: Plans, assigner: Assigner, settings: Settings, number: int) -> Step:
    """A pass, and the assigner's chances after it."""
    length = plans.lengths[number]
    variables, params = length.variables, assigner.params[number]

    @jax.jit
    def program(variables, params, *inputs):
        def run(inputs):
            probabilities, tokens = length.own_pass(variables, *inputs)
            chances = assigner.chances(params, features_of(probabilities, tokens))
            return (probabilities, chances, *([tokens] if plans.carries(number) else []))

        return length.in_pieces(run, inputs)

    def run(*inputs: np.ndarray) -> tuple[Any, ...]:
        return program(variables, params, *inputs)

    def follow(outputs: tuple[np.ndarray, ...]) -> np.ndarray:
        _, chances, numbers = outputs
        chosen = _next(chances, assigner, settings.prices(numbers), number)
        return np.where(chosen == number, DONE, chosen)

    return Step(
        plans.names[number],
        run,
        follow,
        assigner.earlier_weight,
        plans.carries(number),
        plans.takes(number),
    )


def _asked_before(
    assigner: Assigner, settings: Settings, starts: Int[np.ndarray, " lengths"]
) -> Step:
    """The assigner's chances by a thumbnail.

    Args:
        starts: the step that each length's way begins with.
    """

    @jax.jit
    def chances(params, images):
        return (assigner.chances(params, thumbnails(images, assigner.thumbnail)),)

    run: Callable = partial(chances, assigner.params[0])

    def follow(outputs: tuple[np.ndarray, ...]) -> np.ndarray:
        found, numbers = outputs
        return starts[_next(found, assigner, settings.prices(numbers), None)]

    return Step("", run, follow)
