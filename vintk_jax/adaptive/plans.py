"""Plans for the engine: one length for all, assigned lengths, a cascade, random or known lengths, merged tokens.

Multiply-adds are read off the programs themselves.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from vintk_jax.adaptive.answers import shared_features, thumbnails
from vintk_jax.adaptive.assigners import chances, reads_features
from vintk_jax.counting import multiply_adds
from vintk_jax.errors import UserError
from vintk_jax.inference.engine import DONE, Plan, Step
from vintk_jax.inference.predictor import OneLength, Predictor
from vintk_jax.models.patch_embed import fit_to_grid
from vintk_jax.models.tome import TomeViT
from vintk_jax.training.step import normalise


@dataclasses.dataclass(frozen=True)
class Assigner:
    """A trained token-length assigner.

    Attributes:
        module: see `assigners`; params: its variables.
        target: what its outputs stand for, one of `assigners.TARGETS`.
        thumbnail: pixels a side of what it sees, unless it reads features.
        keep: weight of the shortest pass' answer in a longer one's, for an assigner that shares that pass.
        costs: of running each length, cheapest first, as shares of the longest's.
        price: of the longest length, in right answers (`policies.by_price`).
    """

    module: nn.Module
    params: Any
    target: str
    thumbnail: int
    keep: float
    costs: tuple[float, ...]
    price: float = 0.0

    def at(self, price: float) -> "Assigner":
        """The same at another price."""
        return dataclasses.replace(self, price=price)

    @property
    def path(self) -> str:
        """What has been run ahead of the length that answers, one of `policies.PATHS`."""
        return "shortest" if reads_features(self.module) else "alone"

    def chances(self, params: Any, seen: Any) -> Any:
        """Of being right at each length, cheapest first; `seen` are features or thumbnails."""
        return chances(self.module.apply(params, seen), self.target)


class Plans:
    """The plans of one trained model.

    Args:
        predictor: the model.
    """

    def __init__(self, predictor: Predictor):
        self.names = tuple(reversed(predictor.names))
        self.image_size = predictor.image_size
        self._lengths = [predictor.length(name) for name in self.names]
        self._runs = [self._jitted(one) for one in self._lengths]
        self._image = jax.ShapeDtypeStruct((1, predictor.image_size, predictor.image_size, 3), jnp.uint8)
        self.multiply_adds = {
            name: multiply_adds(lambda variables, image, one=one: one(variables, image)[0], one.variables, self._image)
            for name, one in zip(self.names, self._lengths, strict=True)
        }

    @property
    def costs(self) -> tuple[float, ...]:
        """Of the lengths, cheapest first, as shares of the longest's multiply-adds."""
        alone = list(self.multiply_adds.values())
        return tuple(cost / alone[-1] for cost in alone)

    @staticmethod
    def _jitted(one: OneLength) -> Callable:
        run = jax.jit(lambda variables, images: one(variables, images)[0])
        return lambda images: (run(one.variables, images),)

    def _last(self, number: int, keep: float = 0.0) -> Step:
        return Step(self.names[number], self._runs[number], _done, keep)

    def fixed(self, name: str) -> Plan:
        """The same length for all."""
        return Plan([self._last(self.names.index(name))])

    def known(self, lengths: Int[np.ndarray, " n"]) -> Plan:
        """Image i at lengths[i], cheapest length first: an oracle's, or drawn at random."""
        return Plan([self._last(i) for i in range(len(self.names))], lambda places: lengths[places])

    def cascade(self, threshold: float, keep: float) -> Plan:
        """Shortest first; on to the next length while the highest probability is below the threshold.

        Args:
            keep: weight of what was known before in each length's answer.
        """
        steps = []
        for i, run in enumerate(self._runs[:-1]):
            on = lambda found, i=i: np.where(found[0].max(axis=-1) >= threshold, DONE, i + 1)
            steps.append(Step(self.names[i], run, on, keep if i else 0.0))
        return Plan([*steps, self._last(len(steps), keep)])

    def assigned(self, assigner: Assigner) -> Plan:
        """By an assigner, which is the first step; one that shares the shortest pass answers with it where it suffices."""
        run = jax.jit(self._assign(assigner))
        variables = self._lengths[0].variables
        call = lambda images: run(variables, assigner.params, assigner.price, images)
        if assigner.path == "shortest":
            first = Step(self.names[0], call, lambda found: np.where(found[1] == 0, DONE, found[1]))
            return Plan([first, *(self._last(i, assigner.keep) for i in range(1, len(self.names)))])
        return Plan([Step("", call, lambda found: found[0] + 1), *(self._last(i) for i in range(len(self.names)))])

    def _assign(self, assigner: Assigner) -> Callable:
        """A function (the shortest length's variables, params, price, images) -> ([probabilities,] lengths)."""
        costs = jnp.asarray(assigner.costs, jnp.float32)
        choose = lambda params, price, seen: jnp.argmax(assigner.chances(params, seen) - price * costs, axis=-1).astype(jnp.int32)

        def on_features(variables, params, price, images):
            probabilities, tokens = self._lengths[0](variables, images)
            return probabilities, choose(params, price, shared_features(probabilities, tokens))

        def on_thumbnails(variables, params, price, images):
            return (choose(params, price, thumbnails(images, assigner.thumbnail)),)

        return on_features if assigner.path == "shortest" else on_thumbnails

    def assigner_multiply_adds(self, assigner: Assigner) -> int:
        """Of the assigner alone, without the pass that it shares."""
        counted = multiply_adds(self._assign(assigner), self._lengths[0].variables, assigner.params, assigner.price, self._image)
        return counted - (self.multiply_adds[self.names[0]] if assigner.path == "shortest" else 0)

    def merged(self, count: int) -> tuple[Plan, int]:
        """The longest length with `count` tokens merged in every block (ToMe), and its multiply-adds.

        Raises:
            UserError: for a model whose tokens can't be merged.
        """
        longest = self._lengths[-1]
        model = TomeViT(longest.model, count)

        def forward(variables, images):
            images = normalise(images)
            images = images if longest.grid is None else fit_to_grid(images, longest.grid)
            return jax.nn.softmax(model.apply(variables, images).astype(jnp.float32))

        try:
            cost = multiply_adds(forward, longest.variables, self._image)
        except ValueError as error:
            raise UserError(f"This model's tokens can't be merged: {error}") from error
        run = jax.jit(forward)
        return Plan([Step(self.names[-1], lambda images: (run(longest.variables, images),), _done)]), cost


def _done(found: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.full(len(found[0]), DONE)
