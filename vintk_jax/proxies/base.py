"""What a proxy is."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A score computed from the kernels of an untrained network.

    Attributes:
        name: as in `score.name`.
        score: kernels by view -> a number; the higher the better.
        views: the inputs whose kernels it needs: "plain" images, their "fourier" features.
    """

    name: str
    score: Callable[[Mapping[str, Float[np.ndarray, "n n"]]], float]
    views: tuple[str, ...]
