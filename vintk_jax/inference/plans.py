"""Plans for the engine that know nothing of an image but its place or an answer: one length for
all, lengths given beforehand, a cascade, merged tokens.

Multiply-adds are read off the programs themselves.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from vintk_jax.errors import UserError
from vintk_jax.inference.plan import DONE, Plan, Step, confidence
from vintk_jax.inference.predictor import OneLength, Predictor
from vintk_jax.models.patch_embed import fit_to_grid
from vintk_jax.models.tome import TomeViT
from vintk_jax.models.vit import ViT
from vintk_jax.multiply_adds import multiply_adds
from vintk_jax.tasks.objectives import normalise


class Plans:
    """The plans of one trained model.

    Args:
        predictor: the model.

    Attributes:
        names: of the lengths, cheapest first.
        lengths: the model at each of them.
        shape: of an image, or a clip.
        image: shape and type of a batch of one image.
        multiply_adds: of an image by the length's name.
    """

    def __init__(self, predictor: Predictor):
        self.names = tuple(reversed(predictor.names))
        self.shape = predictor.shape
        self.lengths = [predictor.length(name) for name in self.names]
        self.image = jax.ShapeDtypeStruct((1, *predictor.shape), jnp.uint8)
        self.multiply_adds = {
            name: multiply_adds(length.probabilities, length.variables, self.image)
            for name, length in zip(self.names, self.lengths, strict=True)
        }
        self._runs = [_compiled(length) for length in self.lengths]

    @property
    def paid(self) -> Float[np.ndarray, " lengths"]:
        """Multiply-adds of an image at each length, cheapest first."""
        return np.array(list(self.multiply_adds.values()), float)

    @property
    def costs(self) -> tuple[float, ...]:
        """Of the lengths, cheapest first, as shares of the longest's multiply-adds."""
        alone = list(self.multiply_adds.values())
        return tuple(cost / alone[-1] for cost in alone)

    def last_step(self, number: int, earlier_weight: float = 0.0) -> Step:
        """A pass at a length, after which the image is answered."""
        return Step(self.names[number], self._runs[number], _done, earlier_weight)

    def fixed(self, name: str) -> Plan:
        """The same length for all."""
        return Plan([self.last_step(self.names.index(name))])

    def known(self, lengths: Int[np.ndarray, " n"]) -> Plan:
        """Image i at lengths[i], cheapest length first: an oracle's, or drawn at random."""
        steps = [self.last_step(number) for number in range(len(self.names))]
        return Plan(steps, lambda places: lengths[places])

    def cascade(self, threshold: float) -> Plan:
        """Shortest first; on to the next length while the highest probability is below the
        threshold.
        """

        def step(number: int) -> Step:
            def follow(outputs):
                return np.where(confidence(outputs[0]) >= threshold, DONE, number + 1)

            return Step(self.names[number], self._runs[number], follow)

        last = len(self.names) - 1
        return Plan([*(step(number) for number in range(last)), self.last_step(last)])

    def merged(self, count: int) -> tuple[Plan, int]:
        """The longest length with `count` tokens merged in every block (ToMe), and its
        multiply-adds.

        Raises:
            UserError: for a model whose tokens can't be merged.
        """
        longest = self.lengths[-1]
        if not isinstance(longest.model, ViT):
            raise UserError(
                f"Expected a ViT, whose tokens can be merged, got a {type(longest.model).__name__}."
            )
        model = TomeViT(longest.model, count)

        def forward(variables, images):
            images = normalise(images)
            if longest.grid is not None:
                images = fit_to_grid(images, longest.grid)
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


def _compiled(length: OneLength) -> Callable:
    """A function images -> (probabilities,)."""
    program = jax.jit(length.probabilities_in_pieces)

    def run(images):
        return (program(length.variables, images),)

    return run


def _done(outputs: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.full(len(outputs[0]), DONE)
