"""What every setting of every policy comes to, on images that the model has not learned from. The
choice for a budget is in `budget_choice`.
"""

import dataclasses
from collections.abc import Iterable

import jax
import numpy as np

from vintk_jax.adaptive import budget_choice, guarantees, policies
from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.assigner import Assigner, Chances
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.adaptive.fitting import Fit, fit_assigner
from vintk_jax.adaptive.policies import Outcomes
from vintk_jax.errors import UserError
from vintk_jax.inference.plan import confidence
from vintk_jax.inference.plans import Plans

FOLDS = 5


def fitted(
    assigner: Assigner, answers: Answers, how: Fit, seed: int, stages: int
) -> tuple[Assigner, list[float]]:
    """An assigner that has learned from the images, for so many stages; the mean loss of the last
    tenth of the steps of each.
    """
    params = []
    losses = []
    for stage in range(stages):
        of_stage, of_steps = fit_assigner(
            assigner.module,
            assigner.inputs(answers, stage),
            answers.right,
            assigner.costs,
            how,
            seed,
        )
        params.append(of_stage)
        losses.append(float(of_steps[-max(len(of_steps) // 10, 1) :].mean()))
    return dataclasses.replace(assigner, params=tuple(params)), losses


def chances_of(assigner: Assigner, answers: Answers) -> Chances:
    """An assigner's chances for images that it has not learned from."""
    run = jax.jit(assigner.chances)
    stages = [
        np.asarray(run(params, assigner.inputs(answers, stage)))
        for stage, params in enumerate(assigner.params)
    ]
    return np.stack(stages, axis=1)


def cross_fitted_chances(
    assigner: Assigner, answers: Answers, how: Fit, seed: int, stages: int
) -> Chances:
    """Chances for the images that the assigner has learned from, each by an assigner of the same
    kind that hasn't seen it.

    The images are cut into `FOLDS` parts, of which each is foreseen from the others.
    """
    count = len(answers.labels)
    chances = np.zeros((count, stages, len(answers.names)), np.float32)
    part = np.random.default_rng(seed).permutation(count) % FOLDS
    for fold in range(FOLDS):
        learned, _ = fitted(assigner, answers.some(part != fold), how, seed, stages)
        chances[part == fold] = chances_of(learned, answers.some(part == fold))
    return chances


def cascade_outcomes(
    answers: Answers,
    threshold: int | float,
    start: int = 0,
    earlier_weight: int | float = 0.0,
) -> Outcomes:
    """What images come to by confidence, from a first length on.

    Args:
        earlier_weight: see `policies.simulate`.
    """

    def decide(at, known):
        return policies.by_confidence(known, threshold, at)

    first = np.full(len(answers.labels), start)
    return policies.simulate(answers.probabilities, first, decide, earlier_weight)


def cascade_points(
    answers: Answers, plans: Plans, earlier_weight: int | float, starts: Iterable[int]
) -> list[Point]:
    """A point for every threshold of a cascade, from each of these first lengths that an image may
    begin at.

    Args:
        earlier_weight: see `policies.simulate`.
    """
    points = []
    for start in filter(plans.can_start_at, starts):

        def outcomes(threshold, start=start):
            return cascade_outcomes(answers, threshold, start, earlier_weight)

        points += budget_choice.curve(
            outcomes,
            budget_choice.thresholds(confidence(answers.probabilities)),
            answers.labels,
            answers.right[:, -1],
            np.array(plans.costs),
            start=start,
        )
    return points


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Accuracy against cost on the calibration images.

    Attributes:
        images: how many; full: accuracy of the longest length.
        assigned, cascade: a point for every setting that was tried.
        cascade_weight: what the cascade's earlier answers count for (`policies.simulate`); 0 in
            records from before they counted.
    """

    images: int
    full: float
    assigned: list[Point]
    cascade: list[Point]
    cascade_weight: float = 0.0

    @classmethod
    def of(
        cls, answers: Answers, chances: Chances, assigner: Assigner, plans: Plans
    ) -> "Calibration":
        """Go through all settings.

        Args:
            chances: of the images, from `chances_of` or `cross_fitted_chances`.
            assigner: with weights, for what it costs.
        """
        first, passes = assigner.stage_costs(plans)
        paid = np.array(assigner.costs) + passes
        right = answers.right[:, -1]

        def assigned_from(start: int) -> list[Point]:
            def outcomes(price):
                return assigner.outcomes(answers, chances, price, start)

            prices = [0.0]
            if start < len(answers.names) - 1:
                prices = budget_choice.prices(chances[:, start:], np.array(assigner.costs))
            return budget_choice.curve(
                outcomes,
                prices,
                answers.labels,
                right,
                paid,
                first,
                start,
            )

        assigned = []
        for start in assigner.first_lengths:
            if plans.can_start_at(start):
                assigned += assigned_from(start)
        # What the assigner may do, the cascade may: begin at any length, blend answers.
        shorter = range(len(answers.names) - 1)
        cascaded = cascade_points(answers, plans, assigner.earlier_weight, shorter)
        full = float(right.mean())
        return cls(len(answers.labels), full, assigned, cascaded, assigner.earlier_weight)

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
            by: "measured": the drop on these images with its standard error
                (`budget_choice.within`); "promised": an exact limit for new images (`guarantees`),
                which is kept as often as `confidence` says.

        Raises:
            UserError: for a budget that nothing is within.
        """
        points = getattr(self, method)
        if by == "measured" or not np.isfinite(max_drop):
            return budget_choice.within(points, self.full, max_drop, max_cost, confidence)
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
