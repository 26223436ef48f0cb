"""A clip in several views: the model answers each, and the answers are averaged."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Shaped


def over_views(
    run: Callable[[Shaped[Array, " n *shape"]], Any], clips: Shaped[Array, " n *shape"]
) -> Any:
    """What `run` gives for each clip; for clips in several views, the mean over these. Images pass
    through.
    """
    if clips.ndim < 6:
        return run(clips)
    answers = run(clips.reshape(-1, *clips.shape[2:]))

    def mean(array):
        return array.reshape(*clips.shape[:2], *array.shape[1:]).mean(axis=1)

    return jax.tree.map(mean, answers)
