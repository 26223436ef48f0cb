"""Every way to spend tokens that is compared; `comparison` runs them."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool

from vintk_jax.adaptive import budget_choice
from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.adaptive.calibration import Calibration
from vintk_jax.adaptive.length_labels import smallest_right
from vintk_jax.errors import UserError
from vintk_jax.inference.engine import Plan
from vintk_jax.inference.plans import Plans


@dataclasses.dataclass(frozen=True)
class Method:
    """One line of the comparison.

    Attributes:
        name: fixed-N, random, cascade, tome, evit, tla or oracle.
        budget: points that it may lose, None where it has no such setting.
        plan: what it does.
        flops: multiply-adds of an image at each step of the plan.
    """

    name: str
    budget: float | None
    plan: Plan
    flops: tuple[int | float, ...]


def methods(
    plans: Plans,
    assigner: Assigner,
    calibration: Calibration,
    right: Bool[np.ndarray, "n lengths"],
    budgets: Sequence[int | float],
    max_cost: int | float,
    confidence: int | float,
    seed: int,
    by: str = "measured",
) -> list[Method]:
    """All that can be compared on labelled images.

    Args:
        right: of the images that will be compared on: for the oracle.
        budgets: percentage points; the first one's mix is also drawn at random.
        max_cost: share of the longest length's cost, for the first budget; confidence: with which
            drops are kept; by: how (`Calibration.choose`).
    """
    costs = tuple(plans.paid)
    paid = assigner.paid_by_step(plans)
    compared = [
        Method(f"fixed-{name}", None, plans.fixed(name), plans.paid_fixed(name))
        for name in reversed(plans.names)
    ]
    longest = compared[0]

    def assigned(budget: float, point: budget_choice.Point) -> Method:
        # The longest length for all is one thing, whoever says so, and takes one time.
        if point.longest:
            return Method("tla", budget, longest.plan, longest.flops)
        return Method("tla", budget, assigner.at(point).plan(plans), paid)

    point = calibration.choose("assigned", budgets[0], max_cost, confidence, by)
    drawn = np.random.default_rng(seed).choice(
        len(costs), len(right), p=np.array(point.mix) / np.sum(point.mix)
    )
    compared.append(Method("random", budgets[0], plans.known(drawn), plans.paid_one_each))
    compared.append(assigned(budgets[0], point))
    for budget, point in _settings(calibration, "assigned", budgets[1:], confidence, by):
        compared.append(assigned(budget, point))
    for budget, point in _settings(calibration, "cascade", budgets, confidence, by):
        plan = plans.cascade(point.setting, point.start, calibration.cascade_weight)
        compared.append(Method("cascade", budget, plan, costs))
    smallest, _ = smallest_right(right, "shortest")
    return [
        *compared,
        *_merging(plans),
        Method("oracle", None, plans.known(smallest), plans.paid_one_each),
    ]


def _settings(
    calibration: Calibration,
    method: str,
    budgets: Sequence[int | float],
    confidence: int | float,
    by: str,
) -> Iterator[tuple[float, budget_choice.Point]]:
    """Budgets that the method has a setting for."""
    for budget in budgets:
        try:
            yield budget, calibration.choose(method, budget, np.inf, confidence, by)
        except UserError:
            continue


def _merging(plans: Plans, settings: int = 4) -> list[Method]:
    """Token merging on the longest length, and fusing by attention, at a few numbers a block; none
    for a model that can't.
    """
    tokens = int(plans.names[-1]) if plans.names[-1].isdigit() else 0
    counts = sorted({max(round(tokens * share), 1) for share in np.linspace(0.06, 0.4, settings)})
    try:
        return [
            Method(name, None, plan, (cost,))
            for name, by_attention in (("tome", False), ("evit", True))
            for plan, cost in (plans.merged(count, by_attention) for count in counts)
        ]
    except UserError:
        return []
