"""What a proxy is."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A score of an architecture: a function of the kernels of its untrained network, or of the architecture itself.

    Attributes:
        name: as in `score.name`.
        score: the higher the better. Of "kernels": kernels by view -> a number. Of an "architecture": (space, architecture) -> a number.
        views: the inputs whose kernels it needs: "plain" images, their "fourier" features.
        of: what it is computed from.
    """

    name: str
    score: Callable[[Mapping[str, Float[np.ndarray, "n n"]]], float] | Callable[[Any, Any], float]
    views: tuple[str, ...] = ()
    of: Literal["kernels", "architecture"] = "kernels"
