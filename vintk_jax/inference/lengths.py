"""What a trained model's lengths cost, and what each pass needs of those before it.

Multiply-adds are read off the programs themselves.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vintk_jax.inference.predictor import Predictor
from vintk_jax.models.passes import begins_with
from vintk_jax.multiply_adds import multiply_adds


class Lengths:
    """The lengths of one trained model.

    A length by region (`models.regions`) is a second pass, which takes what the first one let the
    image carry.

    Args:
        predictor: the model.

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

    @property
    def multiply_adds_alone(self) -> dict[str, int]:
        """`paid_alone` by the length's name."""
        counted = zip(self.names, self.paid_alone, strict=True)
        return {name: int(count) for name, count in counted}

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
