"""Settings of every policy for a budget, from a model's answers to images that it has not learned
from.
"""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float

from vintk_jax.adaptive import guarantees, policies
from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.fitting import Fit, fit_assigner
from vintk_jax.adaptive.plans import Assigner, Plans
from vintk_jax.adaptive.policies import Point, Ways
from vintk_jax.errors import UserError

Chances = Float[np.ndarray, "n looks lengths"]
FOLDS = 5


def seen_at(assigner: Assigner, answers: Answers, look: int) -> np.ndarray:
    """What an assigner reads of the images."""
    return answers.features[:, look] if assigner.shares else answers.thumbnails


def fitted(
    assigner: Assigner, answers: Answers, how: Fit, seed: int, looks: int
) -> tuple[Assigner, list[float]]:
    """An assigner that has learned from the images, for so many looks; the mean loss of the last
    tenth of the steps of each.
    """
    found, losses = [], []
    for look in range(looks):
        params, of_steps = fit_assigner(
            assigner.module,
            seen_at(assigner, answers, look),
            answers.right,
            assigner.costs,
            how,
            seed,
        )
        found.append(params)
        losses.append(float(of_steps[-max(len(of_steps) // 10, 1) :].mean()))
    return dataclasses.replace(assigner, params=tuple(found)), losses


def chances_of(assigner: Assigner, answers: Answers) -> Chances:
    """An assigner's chances for images that it has not learned from."""
    run = jax.jit(assigner.chances)
    return np.stack(
        [
            np.asarray(run(params, seen_at(assigner, answers, look)))
            for look, params in enumerate(assigner.params)
        ],
        axis=1,
    )


def crossed_chances(
    assigner: Assigner, answers: Answers, how: Fit, seed: int, looks: int
) -> Chances:
    """Chances for the images that the assigner has learned from, each by an assigner of the same
    kind that hasn't seen it.

    The images are cut into `FOLDS` parts, of which each is foreseen from the others.
    """
    count = len(answers.labels)
    found = np.zeros((count, looks, len(answers.names)), np.float32)
    part = np.random.default_rng(seed).permutation(count) % FOLDS
    for fold in range(FOLDS):
        learned, _ = fitted(assigner, answers.some(part != fold), how, seed, looks)
        found[part == fold] = chances_of(learned, answers.some(part == fold))
    return found


def ways_assigned(
    answers: Answers, chances: Chances, assigner: Assigner, price: int | float, start: int = 0
) -> Ways:
    """Where images come to by an assigner's chances, at a price and from a first length."""
    costs, looks = np.array(assigner.costs), chances.shape[1]
    if not assigner.shares:
        return policies.walk(
            answers.probabilities, policies.by_price(chances[:, 0], costs, price, None), _stay, 0.0
        )

    def decide(at, known):
        return (
            policies.by_price(chances[:, at], costs, price, at) if at < looks else _stay(at, known)
        )

    return policies.walk(answers.probabilities, np.full(len(chances), start), decide, assigner.keep)


def ways_cascaded(answers: Answers, threshold: int | float) -> Ways:
    """Where images come to by confidence, each length speaking for itself."""

    def decide(at, known):
        return policies.by_confidence(known, threshold, at)

    return policies.walk(answers.probabilities, np.zeros(len(answers.labels), int), decide, 0.0)


def _stay(at: int, known: np.ndarray) -> np.ndarray:
    return np.full(len(known), at)


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
    def of(
        cls, answers: Answers, chances: Chances, assigner: Assigner, plans: Plans
    ) -> "Calibration":
        """Go through all settings.

        Args:
            chances: of the images, from `chances_of` or `crossed_chances`.
            assigner: with weights, for what it costs.
        """
        longest = list(plans.multiply_adds.values())[-1]
        first, paid = plans.paid(assigner)
        assigned, last = [], len(answers.names) - 1
        starts = (
            (*range(len(assigner.params)), last) if assigner.shares else (0,)
        )  # from the last, nobody is asked: no budget is out of reach
        for start in starts:
            assigned += policies.curve(
                lambda price, start=start: ways_assigned(answers, chances, assigner, price, start),
                [0.0]
                if start == last
                else policies.prices(chances[:, start:], np.array(assigner.costs)),
                answers.labels,
                answers.right[:, -1],
                paid / longest,
                first / longest,
                start,
            )
        cascade = policies.curve(
            lambda threshold: ways_cascaded(answers, threshold),
            policies.thresholds(answers.probabilities.max(axis=-1)),
            answers.labels,
            answers.right[:, -1],
            plans.paid()[1] / longest,
        )
        return cls(len(answers.labels), float(answers.right[:, -1].mean()), assigned, cascade)

    def choose(
        self,
        method: str,
        max_drop: int | float,
        max_cost: int | float,
        confidence: int | float,
        by: str = "measured",
    ) -> Point:
        """The setting of "assigned" or "cascade" for a budget.

        Args:
            by: "measured": the drop on these images with its standard error (`policies.within`);
                "promised": an exact limit for new images (`guarantees`), which is kept as often as
                `confidence` says.

        Raises:
            UserError: for a budget that nothing is within.
        """
        points = getattr(self, method)
        if by == "measured" or not np.isfinite(max_drop):
            return policies.within(points, self.full, max_drop, max_cost, confidence)
        if any(point.lost < 0 for point in points):
            raise UserError(
                "budget.by=promised came, but this assigner was calibrated before lost images "
                "were counted. Run `python -m vintk_jax.assign` on this workdir."
            )
        allowed = guarantees.promised(points, self.images, max_drop, confidence)
        affordable = [point for point in allowed if point.cost <= max_cost]
        if not affordable:
            raise UserError(
                f"No setting is promised to lose at most budget.max_drop={max_drop} points at a "
                f"cost of budget.max_cost={max_cost}. Relax one of them, or calibrate on more "
                "images."
            )
        return min(affordable, key=lambda point: (point.cost, -point.accuracy))

    def promise(self, point: Point, confidence: int | float) -> float | None:
        """The most, in percentage points, that a setting loses on new images, by an exact limit for
        this setting alone; None where it wasn't counted.
        """
        if point.lost < 0:
            return None
        return 0.0 if point.longest else guarantees.most_lost(point.lost, self.images, confidence)
