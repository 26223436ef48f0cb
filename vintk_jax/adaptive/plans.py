"""Plans for the engine: one length for all, assigned lengths, a cascade, random or known lengths,
merged tokens.

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

from vintk_jax.adaptive.answers import features_of, thumbnails
from vintk_jax.adaptive.assigners import chances, reads_features
from vintk_jax.adaptive.policies import Point
from vintk_jax.counting import multiply_adds
from vintk_jax.errors import UserError
from vintk_jax.inference.engine import DONE, Plan, Step
from vintk_jax.inference.predictor import OneLength, Predictor
from vintk_jax.models.patch_embed import fit_to_grid
from vintk_jax.models.tome import TomeViT
from vintk_jax.models.vit import ViT
from vintk_jax.training.checkpoints import checksum
from vintk_jax.training.objectives import normalise


@dataclasses.dataclass(frozen=True)
class Assigner:
    """A trained token-length assigner.

    Attributes:
        module: see `assigners`.
        params: its variables at each look: before any pass, for one that sees thumbnails; after the
            shortest pass and perhaps after longer ones, for one that shares the passes. None until
            it is trained.
        target: what its outputs stand for, one of `assigners.TARGETS`.
        thumbnail: pixels a side of what it sees, unless it reads features.
        keep: weight of what was known in what a longer pass says.
        costs: of running each length, cheapest first, as shares of the longest's.
        price: of the longest length, in right answers (`policies.by_price`).
        start: the length that is run first, for one that shares passes.
    """

    module: nn.Module
    params: tuple[Any, ...] | None
    target: str
    thumbnail: int
    keep: float
    costs: tuple[float, ...]
    price: float = 0.0
    start: int = 0

    def at(self, point: Point) -> "Assigner":
        """The same at a setting of a calibration."""
        return dataclasses.replace(self, price=point.setting, start=point.start)

    @property
    def identity(self) -> str:
        """Of its weights and setting."""
        return f"{checksum((self.params, np.float64(self.price), np.int64(self.start))):08x}"

    @property
    def shares(self) -> bool:
        """Whether it reads what the passes know, and the shortest comes first; else thumbnails."""
        return reads_features(self.module)

    def chances(self, params: Any, seen: Any) -> Any:
        """Of being right at each length, cheapest first; `seen` are features or thumbnails,
        `params` those of a look.
        """
        return chances(self.module.apply(params, seen), self.target)

    def choose(self, params: Any, price: Any, seen: Any, at: int | None) -> Any:
        """`policies.by_price` of its chances, as part of a compiled program."""
        there = np.arange(len(self.costs))
        paid = jnp.asarray(np.where(there == at, 0.0, self.costs), jnp.float32)
        worth = self.chances(params, seen) - price * paid
        return jnp.argmax(
            jnp.where(there < (0 if at is None else at), -jnp.inf, worth), axis=-1
        ).astype(jnp.int32)


class Plans:
    """The plans of one trained model.

    Args:
        predictor: the model.
    """

    def __init__(self, predictor: Predictor):
        self.names = tuple(reversed(predictor.names))
        self.shape = predictor.shape
        self._lengths = [predictor.length(name) for name in self.names]
        self._runs = [self._jitted(one) for one in self._lengths]
        self._image = jax.ShapeDtypeStruct((1, *predictor.shape), jnp.uint8)
        self.multiply_adds = {
            name: multiply_adds(
                lambda variables, image, one=one: one(variables, image)[0],
                one.variables,
                self._image,
            )
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

    def cascade(self, threshold: float) -> Plan:
        """Shortest first; on to the next length while the highest probability is below the
        threshold.
        """
        steps = []
        for i, run in enumerate(self._runs[:-1]):

            def on(found, i=i):
                return np.where(found[0].max(axis=-1) >= threshold, DONE, i + 1)

            steps.append(Step(self.names[i], run, on))
        return Plan([*steps, self._last(len(steps))])

    def assigned(self, assigner: Assigner) -> Plan:
        """By an assigner; one that shares passes has its say after each of them that it looks at,
        and their answers stand where they suffice.
        """
        if not assigner.shares:
            look = jax.jit(
                lambda params, price, images: (
                    assigner.choose(params, price, thumbnails(images, assigner.thumbnail), None),
                )
            )
            first = Step(
                "",
                lambda images: look(assigner.params[0], assigner.price, images),
                lambda found: found[0] + 1,
            )
            return Plan([first, *(self._last(i) for i in range(len(self.names)))])
        steps = []
        for i, params in enumerate(assigner.params):
            run, variables = jax.jit(self._pass_and_look(assigner, i)), self._lengths[i].variables

            def call(images, run=run, variables=variables, params=params):
                return run(variables, params, assigner.price, images)

            def follow(found, i=i):
                return np.where(found[1] == i, DONE, found[1])

            steps.append(
                Step(self.names[i], call, follow, assigner.keep if i > assigner.start else 0.0)
            )
        last = [
            self._last(i, assigner.keep if i > assigner.start else 0.0)
            for i in range(len(steps), len(self.names))
        ]
        return Plan([*steps, *last], lambda places: np.full(len(places), assigner.start))

    def _pass_and_look(self, assigner: Assigner, number: int) -> Callable:
        """A function (the length's variables, params, price, images) -> probabilities, the number
        of the length to go on to.
        """

        def run(variables, params, price, images):
            probabilities, tokens = self._lengths[number](variables, images)
            return probabilities, assigner.choose(
                params, price, features_of(probabilities, tokens), number
            )

        return run

    def look_multiply_adds(self, assigner: Assigner) -> int:
        """Of one look of the assigner, without the pass that it shares."""
        if not assigner.shares:

            def look(params, image):
                return assigner.chances(params, thumbnails(image, assigner.thumbnail))

            return multiply_adds(look, assigner.params[0], self._image)
        counted = multiply_adds(
            self._pass_and_look(assigner, 0),
            self._lengths[0].variables,
            assigner.params[0],
            0.0,
            self._image,
        )
        return counted - self.multiply_adds[self.names[0]]

    def paid(self, assigner: Assigner | None = None) -> tuple[float, np.ndarray]:
        """Multiply-adds ahead of any pass, and of a pass at each length, cheapest first; with an
        assigner, its looks included.
        """
        costs = np.array(list(self.multiply_adds.values()), float)
        if assigner is None:
            return 0.0, costs
        look = float(self.look_multiply_adds(assigner))
        if not assigner.shares:
            return look, costs
        return 0.0, costs + look * (np.arange(len(costs)) < len(assigner.params))

    def merged(self, count: int) -> tuple[Plan, int]:
        """The longest length with `count` tokens merged in every block (ToMe), and its
        multiply-adds.

        Raises:
            UserError: for a model whose tokens can't be merged.
        """
        longest = self._lengths[-1]
        if not isinstance(longest.model, ViT):
            raise UserError(
                f"A {type(longest.model).__name__}'s tokens can't be merged; a ViT was wanted."
            )
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
        return Plan(
            [Step(self.names[-1], lambda images: (run(longest.variables, images),), _done)]
        ), cost


def _done(found: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.full(len(found[0]), DONE)
