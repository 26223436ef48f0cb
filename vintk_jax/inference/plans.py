"""Plans for the engine that know nothing of an image but its place or an answer: one length for
all, lengths given beforehand, a cascade, merged tokens.

Multiply-adds are read off the programs themselves.
"""

import dataclasses
import functools
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from vintk_jax.errors import UserError
from vintk_jax.inference.plan import DONE, Plan, Step, confidence
from vintk_jax.inference.predictor import Predictor
from vintk_jax.models.folding import fitted, has_stem
from vintk_jax.models.passes import begins_with
from vintk_jax.models.tome import TomeViT
from vintk_jax.models.vit import ViT
from vintk_jax.multiply_adds import multiply_adds
from vintk_jax.tasks.objectives import normalise


class Plans:
    """The plans of one trained model.

    Args:
        predictor: the model.

    A length by region (`models.regions`) is a second pass, which takes what the first one let the
    image carry: plans see to that.

    Attributes:
        names: of the lengths, cheapest first.
        lengths: the model at each of them.
        shape: of an image, or a clip.
        image: shape and type of a batch of one image.
        multiply_adds: of an image in a length's own pass, by its name.
        begins_at: the number of the length that comes ahead of each; its own for one pass.
        seconds: of an image in each length's own pass (`clock`), which are what lengths cost where
            they are set; None: multiply-adds are.
    """

    seconds: Float[np.ndarray, " lengths"] | None = None

    def __init__(self, predictor: Predictor):
        self.names = tuple(reversed(predictor.names))
        self.shape = predictor.shape
        self.lengths = [predictor.length(name) for name in self.names]
        self.image = jax.ShapeDtypeStruct((1, *predictor.shape), jnp.uint8)
        grids = [length.grid for length in self.lengths]
        self.begins_at = [
            number if begins_with(grid) is None else grids.index(begins_with(grid))
            for number, grid in enumerate(grids)
        ]
        self.multiply_adds = {name: self._counted(i) for i, name in enumerate(self.names)}

    @property
    def paid(self) -> Float[np.ndarray, " lengths"]:
        """Multiply-adds of an image in each length's own pass, cheapest first."""
        return np.array(list(self.multiply_adds.values()), float)

    @property
    def paid_alone(self) -> Float[np.ndarray, " lengths"]:
        """Multiply-adds of an image that is given one length, with the pass that it begins
        with.
        """
        return self._with_beginnings(self.paid)

    def _with_beginnings(self, own: np.ndarray) -> Float[np.ndarray, " lengths"]:
        begun = [0 if first == i else own[first] for i, first in enumerate(self.begins_at)]
        return own + np.array(begun, float)

    @property
    def costs(self) -> tuple[float, ...]:
        """Of the lengths' own passes, cheapest first, as shares of the longest's: of its seconds
        where these are set, else of its multiply-adds.
        """
        own = self.paid if self.seconds is None else self.seconds
        return tuple((own / own[-1]).tolist())

    @property
    def costs_alone(self) -> tuple[float, ...]:
        """The same, each with the pass that it begins with."""
        return tuple(self._with_beginnings(np.array(self.costs)).tolist())

    def can_start_at(self, number: int) -> bool:
        """Whether an image may begin at a length and go on to every longer one: none of them begins
        with a pass that it hasn't had.
        """
        return all(
            first in (i, number) or first > number
            for i, first in enumerate(self.begins_at)
            if i >= number
        )

    def carries(self, number: int) -> bool:
        """Whether another length begins with this one's pass."""
        return any(first == number != i for i, first in enumerate(self.begins_at))

    def takes(self, number: int) -> tuple[int, ...] | None:
        """Shape of what an image has to carry into a length's own pass (`Step.takes`)."""
        first = self.begins_at[number]
        if first == number:
            return None
        length = self.lengths[first]
        _, tokens = jax.eval_shape(length, length.variables, self.image)
        return tokens.shape[1:]

    def inputs(self, number: int) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Shapes of one image, and of what it carries, as a length's own pass takes them."""
        shape = self.takes(number)
        if shape is None:
            return (self.image,)
        return self.image, jax.ShapeDtypeStruct((1, *shape), jnp.float32)

    def _counted(self, number: int) -> int:
        length = self.lengths[number]
        return multiply_adds(length.own_pass, length.variables, *self.inputs(number))

    @functools.cache  # noqa: B019 (programs live as long as their model)
    def _program(self, number: int, carries: bool) -> Callable:
        """A length's own pass: a function images[, carried] -> (probabilities[, carried])."""
        length = self.lengths[number]

        @jax.jit
        def program(variables, *inputs):
            def run(inputs):
                probabilities, tokens = length.own_pass(variables, *inputs)
                return (probabilities, tokens) if carries else (probabilities,)

            return length.in_pieces(run, inputs)

        def run(*inputs):
            return program(length.variables, *inputs)

        return run

    def step(
        self, number: int, follow: Callable, earlier_weight: float = 0.0, carries: bool = False
    ) -> Step:
        """A pass at a length.

        Args:
            follow: see `Step`.
            carries: whether a later step takes what the pass knew.
        """
        return Step(
            self.names[number],
            self._program(number, carries),
            follow,
            earlier_weight,
            carries,
            self.takes(number),
        )

    def last_step(self, number: int, earlier_weight: float = 0.0) -> Step:
        """A pass at a length, after which the image is answered."""
        return self.step(number, _done, earlier_weight)

    def opening(self, number: int, then: int) -> Step:
        """The pass that a length by region begins with; nobody is answered by it.

        Args:
            number: of the length by region; then: the step that is its own pass.
        """

        def follow(outputs):
            return np.full(len(outputs[0]), then)

        first = self.step(self.begins_at[number], follow, carries=True)
        return dataclasses.replace(first, name="")

    def one_each(self, at: int = 0) -> tuple[list[Step], Int[np.ndarray, " lengths"]]:
        """Steps that answer an image at one length: one for each length, then those that some begin
        with. And the step that each length's way begins with.

        Args:
            at: steps ahead of these in the plan.
        """
        steps = [self.last_step(number) for number in range(len(self.names))]
        starts = at + np.arange(len(self.names))
        for number, first in enumerate(self.begins_at):
            if first != number:
                starts[number] = at + len(steps)
                steps.append(self.opening(number, at + number))
        return steps, starts

    @property
    def paid_one_each(self) -> tuple[float, ...]:
        """Multiply-adds of an image in each step of `one_each`."""
        openings = [first for number, first in enumerate(self.begins_at) if first != number]
        return (*self.paid, *self.paid[openings])

    def fixed(self, name: str) -> Plan:
        """The same length for all."""
        number = self.names.index(name)
        if self.begins_at[number] == number:
            return Plan([self.last_step(number)])
        return Plan([self.opening(number, 1), self.last_step(number)])

    def paid_fixed(self, name: str) -> tuple[float, ...]:
        """Multiply-adds of an image in each step of `fixed`."""
        number = self.names.index(name)
        first = self.begins_at[number]
        return tuple(self.paid[[number] if first == number else [first, number]])

    def known(self, lengths: Int[np.ndarray, " n"]) -> Plan:
        """Image i at lengths[i], cheapest length first: an oracle's, or drawn at random."""
        steps, starts = self.one_each()
        return Plan(steps, lambda places: starts[lengths[places]])

    def cascade(self, threshold: float, start: int = 0, earlier_weight: float = 0.0) -> Plan:
        """On to the next length while the highest probability is below the threshold.

        Args:
            start: the length that comes first; `can_start_at` says which may.
            earlier_weight: of what shorter lengths have answered (`Step`).
        """

        def weight(number: int) -> float:
            return earlier_weight if number > start else 0.0

        def step(number: int) -> Step:
            def follow(outputs):
                return np.where(confidence(outputs[0]) >= threshold, DONE, number + 1)

            return self.step(number, follow, weight(number), self.carries(number))

        last = len(self.names) - 1
        steps = [*(step(number) for number in range(last)), self.last_step(last, weight(last))]
        return Plan(steps, lambda places: np.full(len(places), start))

    def merged(self, count: int, by_attention: bool = False) -> tuple[Plan, int]:
        """The longest length with `count` tokens fewer in every block, and its multiply-adds:
        merged (ToMe) or, by attention, fused (as EViT).

        Raises:
            UserError: for a model whose tokens can't be merged.
        """
        longest = self.lengths[-1]
        if not isinstance(longest.model, ViT):
            raise UserError(
                f"Expected a ViT, whose tokens can be merged, got a {type(longest.model).__name__}."
            )
        model = TomeViT(longest.model, count, by_attention)

        def forward(variables, images):
            images = normalise(images)
            if longest.grid is not None:
                images = fitted(images, longest.grid, has_stem(longest.model))
            return jax.nn.softmax(model.apply(variables, images).astype(jnp.float32))

        try:
            cost = multiply_adds(forward, longest.variables, self.image)
        except ValueError as error:
            raise UserError(f"This model's tokens can't be merged: {error}") from error

        @jax.jit
        def program(variables, images):
            return longest.in_pieces(partial(forward, variables), images)

        def run(images):
            return (program(longest.variables, images),)

        return Plan([Step(self.names[-1], run, _done)]), cost


def _done(outputs: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.full(len(outputs[0]), DONE)
