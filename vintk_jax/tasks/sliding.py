"""Predicting pixels through a window that slides over a larger image."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from vintk_jax.tasks.objectives import normalise


def make_sliding(
    model: nn.Module, size: int
) -> Callable[[Any, Array], Float[Array, "n height width classes"]]:
    """A function (params, uint8 images) -> logits, averaged over the square windows that show a
    pixel (as Segmenter, section 4.2).

    Windows begin every two thirds of their side, our choice; the last of a row and of a column end
    at the border.
    """

    def starts(extent: int) -> list[int]:
        count = 1 + -(-3 * (extent - size) // (2 * size))
        return sorted({round(start) for start in np.linspace(0, extent - size, count)})

    def predict(
        params: Any, images: UInt8[Array, "n height width 3"]
    ) -> Float[Array, "n height width classes"]:
        images = normalise(images)
        height, width = images.shape[1:3]
        total = 0.0
        count = np.zeros((height, width), np.float32)
        for top in starts(height):
            for left in starts(width):
                window = (slice(top, top + size), slice(left, left + size))
                logits = model.apply(params, images[:, *window]).astype(jnp.float32)
                below = height - top - size
                right = width - left - size
                total += jnp.pad(logits, ((0, 0), (top, below), (left, right), (0, 0)))
                count[window] += 1
        return total / count[:, :, None]

    return predict
