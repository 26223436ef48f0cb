"""Settings of every policy for a budget, from a model's answers to images that it has not learned from."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float

from vintk_jax.adaptive import policies
from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.assigners import reads_features
from vintk_jax.adaptive.fitting import Fit, fit_assigner
from vintk_jax.adaptive.plans import Assigner, Plans
from vintk_jax.adaptive.policies import Point

Chances = Float[np.ndarray, "n lengths"]


def seen_by(assigner: Assigner, answers: Answers) -> np.ndarray:
    """What an assigner reads of the images."""
    return answers.features if reads_features(assigner.module) else answers.thumbnails


def fitted(assigner: Assigner, answers: Answers, how: Fit, seed: int) -> tuple[Assigner, Float[np.ndarray, " steps"]]:
    """An assigner that has learned from the images, and the loss of every step."""
    right = answers.right(assigner.path, assigner.keep)
    params, losses = fit_assigner(assigner.module, seen_by(assigner, answers), right, assigner.costs, how, seed)
    return dataclasses.replace(assigner, params=params), losses


def chances_of(assigner: Assigner, answers: Answers) -> Chances:
    """An assigner's chances for images that it has not learned from."""
    return np.asarray(jax.jit(assigner.chances)(assigner.params, seen_by(assigner, answers)))


def crossed_chances(assigner: Assigner, answers: Answers, how: Fit, seed: int, folds: int = 5) -> Chances:
    """Chances for the images that the assigner has learned from, each by an assigner of the same kind that hasn't seen it.

    Args:
        assigner: its weights aren't used.
        folds: parts that the images are cut into; each is foreseen from the others.
    """
    seen, right = seen_by(assigner, answers), answers.right(assigner.path, assigner.keep)
    found = np.zeros(right.shape, np.float32)
    part = np.random.default_rng(seed).permutation(len(seen)) % folds
    run = jax.jit(assigner.chances)
    for fold in range(folds):
        params, _ = fit_assigner(assigner.module, seen[part != fold], right[part != fold], assigner.costs, how, seed)
        found[part == fold] = run(params, seen[part == fold])
    return found


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Accuracy against cost on the calibration images.

    Attributes:
        images: how many; full: accuracy of the longest length.
        assigned, cascade: a point for every setting that was tried.
    """

    images: int
    full: float
    assigned: list[Point]
    cascade: list[Point]

    @classmethod
    def of(cls, answers: Answers, chances: Chances, assigner: Assigner, plans: Plans) -> "Calibration":
        """Go through all settings.

        Args:
            chances: of the images, from `chances_of` or `crossed_chances`.
        """
        costs, longest = np.array(assigner.costs), list(plans.multiply_adds.values())[-1]
        paid = policies.paid_costs(plans.multiply_adds, plans.assigner_multiply_adds(assigner), assigner.path) / longest
        by_price = lambda price: policies.by_price(chances, costs, price)
        assigned = policies.curve(by_price, policies.prices(chances, costs), answers.right(assigner.path, assigner.keep), paid)
        confidence = policies.blend(answers.probabilities, "each", assigner.keep).max(axis=-1)
        by_confidence = lambda threshold: policies.by_confidence(confidence, threshold)
        paid = policies.paid_costs(plans.multiply_adds, 0, "each") / longest
        cascade = policies.curve(by_confidence, policies.thresholds(confidence), answers.right("each", assigner.keep), paid)
        return cls(len(answers.labels), float(answers.right()[:, -1].mean()), assigned, cascade)

    def choose(self, method: str, max_drop: int | float, max_cost: int | float = np.inf) -> Point:
        """The setting of "assigned" or "cascade" for a budget.

        Raises:
            UserError: for a budget that nothing is within.
        """
        return policies.within(getattr(self, method), self.full, max_drop, max_cost)
