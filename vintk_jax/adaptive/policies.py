"""Chooses the next length of each image by one number, which trades tokens for accuracy: a price
(assigner) or a threshold of the confidence (cascade; `inference.plan.confidence`).

`budget_choice` chooses that number; `compared_methods` lists what is compared.

A policy decides after each pass whether an image is answered or goes on to a longer length, so an
image's way through the lengths, what it costs and what comes out are found by following it: the
engine does it on a stream, `simulate` on answers that are known.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from vintk_jax.inference.plan import confidence

Lengths = Int[np.ndarray, " n"]
Probabilities = Float[np.ndarray, "n lengths classes"]


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """What images came to.

    Attributes:
        lengths: that answered, cheapest first from 0.
        probabilities: of the classes in the end.
        passes: how often each length was run for each image.
    """

    lengths: Lengths
    probabilities: Float[np.ndarray, "n classes"]
    passes: Int[np.ndarray, "n lengths"]


def simulate(
    probabilities: Probabilities,
    first: Lengths,
    decide: Callable[[int, Float[np.ndarray, "n classes"]], Lengths],
    earlier_weight: int | float,
) -> Outcomes:
    """Take images from length to length until a policy stops them.

    Args:
        probabilities: of a model, at every length, cheapest first.
        first: the length that each image starts at.
        decide: (a length, the answers by then of all images) -> the length to go on to; that length
            itself to stop.
        earlier_weight: weight that earlier answers have in what comes after. Two lengths err
            differently, and the first pass is paid for (our choice).
    """
    everyone = np.arange(len(first))
    at = first.copy()
    answers = probabilities[everyone, first]
    passes = np.zeros(probabilities.shape[:2], int)
    passes[everyone, first] = 1
    for length in range(probabilities.shape[1] - 1):
        after = decide(length, answers)
        goes_on = (at == length) & (after > length)
        longer = probabilities[everyone, after]
        blended = earlier_weight * answers + (1 - earlier_weight) * longer
        answers = np.where(goes_on[:, None], blended, answers)
        at = np.where(goes_on, after, at)
        passes[everyone[goes_on], after[goes_on]] += 1
    return Outcomes(at, answers, passes)


def by_price(
    chances: Shaped[Any, "n lengths"],
    costs: Sequence[float] | Float[np.ndarray, " lengths"],
    price: Any,
    at: int | None,
) -> Shaped[Any, " n"]:
    """The length with the best chance less its price: chance of being right, minus price times the
    cost of going there.

    What a right answer is worth in costs is the same for all images, which makes this the best
    single choice for a mean accuracy at a mean cost, if the chances are true (our choice; the paper
    takes the likeliest label).

    Args:
        chances: an assigner's, of being right at each length, cheapest first: NumPy's or JAX's, and
            so is what is returned.
        costs: of running each length, as shares of the longest's.
        price: a number, in right answers for the longest length's cost.
        at: the length that has been run, where staying is free; no shorter one is chosen. None
            before any.
    """
    xp = chances.__array_namespace__()
    lengths = np.arange(len(costs))
    paid = xp.asarray(np.where(lengths == at, 0.0, costs))
    allowed = lengths >= (0 if at is None else at)
    return xp.argmax(xp.where(allowed, chances - price * paid, -np.inf), axis=-1)


def stay(at: int, answers: np.ndarray) -> Lengths:
    """Every image is answered where it is."""
    return np.full(len(answers), at)


def by_confidence(
    known: Float[np.ndarray, "n classes"], threshold: int | float, at: int
) -> Lengths:
    """Stay where the confidence reaches a threshold, else on to the next length: a cascade."""
    return np.where(confidence(known) >= threshold, at, at + 1)
