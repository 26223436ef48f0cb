"""The weights that a training starts from, where its config names a file of them."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import ml_collections

from vintk_jax.weights.load import load_weights


def weights_reader(
    config: ml_collections.ConfigDict, model: nn.Module, say: Callable[[str], None]
) -> Callable[[], Any] | None:
    """A function that reads a model's variables from the file in model.weights; None without one.

    Args:
        config: the training's.
        say: called with what there is to say about the file.
    """
    section = config.model
    if not section.get("weights", ""):
        return None

    def read() -> Any:
        return load_weights(
            section.weights,
            model,
            head=section.weights_head,
            pixels=section.weights_pixels,
            averaged=section.get("weights_averaged", True),
            key=jax.random.key(config.seed),
            say=say,
        )

    return read
