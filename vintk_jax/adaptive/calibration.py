"""Settings of every policy for a budget, from a model's answers to images that neither it nor its assigner has learned from."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Float

from vintk_jax.adaptive import policies
from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.assigners import reads_features
from vintk_jax.adaptive.plans import Assigner
from vintk_jax.adaptive.policies import Point


def likely_of(assigner: Assigner, answers: Answers) -> Float[np.ndarray, "n lengths"]:
    """An assigner's probabilities of the lengths."""
    seen = answers.features if reads_features(assigner.module) else answers.thumbnails
    return np.asarray(jax.jit(lambda params, x: jax.nn.softmax(assigner.module.apply(params, x)))(assigner.params, seen))


def shares(multiply_adds: Mapping[str, int]) -> tuple[float, ...]:
    """Costs of the lengths as shares of the longest's, cheapest first."""
    longest = list(multiply_adds.values())[-1]
    return tuple(cost / longest for cost in multiply_adds.values())


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Accuracy against cost on the calibration images.

    Attributes:
        full: accuracy of the longest length.
        assigned, cascade: a point for every setting that was tried.
    """

    full: float
    assigned: list[Point]
    cascade: list[Point]

    @classmethod
    def of(cls, answers: Answers, assigner: Assigner, multiply_adds: Mapping[str, int], of_assigner: int) -> "Calibration":
        """Go through all settings.

        Args:
            multiply_adds: of the lengths; of_assigner: of the assigner by itself.
        """
        right, costs = answers.right, np.array(assigner.costs)
        likely, confidence = likely_of(assigner, answers), answers.probabilities.max(axis=-1)
        shared = reads_features(assigner.module)
        paid = policies.paid_costs(multiply_adds, of_assigner, steps=False, shared=shared)
        by_price = lambda price: policies.by_price(likely, costs, price)
        assigned = policies.curve(by_price, policies.prices(likely, costs), right, paid)
        paid = policies.paid_costs(multiply_adds, 0, steps=True, shared=False)
        by_confidence = lambda threshold: policies.by_confidence(confidence, threshold)
        cascade = policies.curve(by_confidence, policies.thresholds(confidence), right, paid)
        return cls(float(right[:, -1].mean()), assigned, cascade)

    def choose(self, method: str, max_drop: int | float, max_cost: int | float = np.inf) -> Point:
        """The setting of "assigned" or "cascade" for a budget.

        Raises:
            UserError: for a budget that nothing is within.
        """
        return policies.within(getattr(self, method), self.full, max_drop, max_cost)
