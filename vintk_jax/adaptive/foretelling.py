"""What adapting may be worth, foretold from a few labelled images ahead of any assigner."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vintk_jax.adaptive import budget_choice
from vintk_jax.adaptive.answers import Answers, collect
from vintk_jax.adaptive.calibration import cascade_points
from vintk_jax.adaptive.length_labels import smallest_right
from vintk_jax.adaptive.session import Session
from vintk_jax.data.sources import Source
from vintk_jax.inference.clock import seconds_of_passes
from vintk_jax.inference.plans import Plans

IMAGES = 200
_ROUNDS = 5
_PAYS = 0.9  # of the longest length's time, or less


@dataclasses.dataclass(frozen=True)
class Foretold:
    """What a few images say.

    Attributes:
        images: how many.
        accuracies: of each length by itself, cheapest first, by its name.
        cascade: time of a cascade by confidence that loses no more than the budget on them, as a
            share of the longest length's for all.
        oracle: time of who knows the smallest right length of each, likewise.
    """

    images: int
    accuracies: dict[str, float]
    cascade: float
    oracle: float


def foretell(
    session: Session, source: Source, max_drop: float, advance: Callable[[int], None]
) -> Foretold:
    """Run some images of a source at every length, and time the passes. Nothing is kept.

    Args:
        source: labelled images that the model wasn't trained on.
        max_drop: points that may be lost.

    Raises:
        UserError: for an image that can't be read.
    """
    config = session.config
    rng = np.random.default_rng(config.seed)
    some = source.part(np.sort(rng.permutation(len(source))[:IMAGES]))
    with tempfile.TemporaryDirectory() as folder:
        answers = collect(
            session.predictor,
            some,
            config.data.batch_size,
            config.tla.thumbnail,
            Path(folder),
            advance,
        )
    plans = session.plans
    if plans.seconds is None:
        plans.seconds = seconds_of_passes(plans, config.data.batch_size, _ROUNDS)
    return of_answers(answers, plans, max_drop, config.tla.keep)


def of_answers(answers: Answers, plans: Plans, max_drop: float, keep: float) -> Foretold:
    """What answers and costs come to; the budget is kept on these images as they are.

    Args:
        keep: weight of earlier answers in a cascade.
    """
    right = answers.right
    smallest, _ = smallest_right(right, "shortest")
    points = cascade_points(answers, plans, keep, range(len(answers.names)))
    full = float(right[:, -1].mean())
    within = budget_choice.within(points, full, max_drop, np.inf, 0.5)
    return Foretold(
        len(answers.labels),
        dict(zip(answers.names, right.mean(axis=0).tolist(), strict=True)),
        within.cost,
        float(np.mean(np.array(plans.costs_alone)[smallest])),
    )


def foretold_line(found: Foretold, max_drop: float) -> str:
    """In two sentences."""
    longest = list(found.accuracies)[-1]
    lengths = ", ".join(f"{name} tokens {share:.1%}" for name, share in found.accuracies.items())
    verdict = "adapting may well pay" if found.cascade <= _PAYS else "adapting will hardly pay"
    return (
        f"Foretold from {found.images} images: {lengths} right. Within {max_drop:g} points on "
        f"these, a cascade by confidence takes {found.cascade:.0%} of the time of {longest} tokens "
        f"for all, who knew the smallest right length {found.oracle:.0%}: {verdict}."
    )
