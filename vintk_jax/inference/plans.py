"""Plans for the engine that know nothing of an image but its place or an answer: one length for
all, lengths given beforehand, a cascade, merged tokens.
"""

import dataclasses
from collections.abc import Callable, Hashable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from vintk_jax.errors import UserError
from vintk_jax.inference.lengths import Lengths
from vintk_jax.inference.plan import DONE, Plan, Step, confidence
from vintk_jax.inference.predictor import Predictor
from vintk_jax.models.folding import fitted, has_stem
from vintk_jax.models.tome import TomeViT
from vintk_jax.models.vit import ViT
from vintk_jax.multiply_adds import multiply_adds
from vintk_jax.tasks.objectives import normalise


class Plans(Lengths):
    """The plans of one trained model.

    Args:
        predictor: the model.
    """

    def __init__(self, predictor: Predictor):
        super().__init__(predictor)
        self._programs: dict[Hashable, Callable] = {}

    def program(self, key: Hashable, function: Callable) -> Callable:
        """The function compiled; the one of an earlier call with the key, which is compiled
        already. So plans that differ only in what a program is called with share it.

        Args:
            key: all that the function depends on beside this model and its arguments.
        """
        return self._programs.setdefault(key, jax.jit(function))

    def _pass(self, number: int, carries: bool) -> Callable:
        """A length's own pass: a function images[, carried] -> (probabilities[, carried])."""
        length = self.lengths[number]

        def of_batch(variables, *inputs):
            def run(inputs):
                probabilities, tokens = length.own_pass(variables, *inputs)
                return (probabilities, tokens) if carries else (probabilities,)

            return length.in_pieces(run, inputs)

        program = self.program(("pass", number, carries), of_batch)
        return partial(program, length.variables)

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
            self._pass(number, carries),
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
