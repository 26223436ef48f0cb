"""From a command's config to a supernet on its inputs."""

from collections.abc import Callable, Sequence

import jax
import ml_collections
import numpy as np
from jaxtyping import Float

from vintk_jax.data import clip_inputs, inputs
from vintk_jax.proxies.base import Measurement
from vintk_jax.proxies.supernet import KernelSettings, Supernet, needed_views, views
from vintk_jax.spaces import SearchSpace


def load_images(
    config: ml_collections.ConfigDict, space: SearchSpace, say: Callable[[str], None]
) -> Float[np.ndarray, "n *image 3"]:
    """The batch that `config.inputs` names, images or clips as the space wants; what there is to
    say about it (broken files) goes to `say`.
    """
    own = config.inputs
    if space.frames:
        batch = clip_inputs.load(
            own.source, own.split, own.num_images, space.frames, own.image_size, config.seed
        )
    else:
        batch = inputs.load(own.source, own.num_images, own.image_size, config.seed)
    for note in batch.notes:
        say(f"inputs: {note}")
    return batch.images


def described(config: ml_collections.ConfigDict, space: SearchSpace) -> str:
    """Those inputs in words."""
    own = config.inputs
    kind = f"clips of {space.frames} frames" if space.frames else "images"
    return f"{own.num_images} {own.source} {kind} of {own.image_size} px"


def make_supernet(
    config: ml_collections.ConfigDict,
    space: SearchSpace,
    measurements: Sequence[Measurement],
    images: Float[np.ndarray, "n *image 3"],
) -> Supernet:
    """The supernet with the views of the images that the measurements need, by the config's `ntk`,
    `fourier` and `seed`.
    """
    batches = views(
        images, needed_views(measurements), jax.random.key(config.seed), **config.fourier
    )
    return Supernet(space, batches, KernelSettings(**config.ntk), seed=config.seed)
