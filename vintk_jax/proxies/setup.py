"""From a command's config to a supernet on its inputs."""

from collections.abc import Callable, Sequence

import jax
import ml_collections
import numpy as np
from jaxtyping import Float

from vintk_jax.data import clip_inputs, inputs
from vintk_jax.errors import UserError
from vintk_jax.ntk import fourier
from vintk_jax.proxies.base import Measurement
from vintk_jax.proxies.supernet import KernelSettings, Supernet, needed_views, views
from vintk_jax.spaces import SearchSpace


def load_images(
    config: ml_collections.ConfigDict, space: SearchSpace, say: Callable[[str], None]
) -> Float[np.ndarray, "n *image 3"]:
    """The batch that `config.inputs` names, images or clips as the space wants; what there is to
    say about it (broken files) goes to `say`.

    Raises:
        UserError: for inputs that can't be read, or that no kernel can tell apart: all alike, or
            each of one colour.
    """
    source, num_images, image_size = _input_fields(config)
    if space.frames:
        batch = clip_inputs.load(
            source, config.inputs.split, num_images, space.frames, image_size, config.seed
        )
    else:
        batch = inputs.load(source, num_images, image_size, config.seed)
    for note in batch.notes:
        say(f"inputs: {note}")
    _check_variety(batch.images, source)
    return batch.images


def _check_variety(images: Float[np.ndarray, "n *image 3"], source: str) -> None:
    """Refuse a batch that has nothing to measure."""
    flat = images.reshape(-1, np.prod(images.shape[1:-1], dtype=int), 3)
    if not np.isfinite(flat).all():
        raise UserError(f"inputs.source={source} holds NaN or infinity. Expected finite pixels.")
    if (flat == flat[:1]).all():
        what = "all alike"
    elif (flat == flat[:, :1]).all():
        what = "each of a single colour"
    else:
        return
    raise UserError(
        f"Expected inputs that differ, got {len(images)} from inputs.source={source} that are "
        f"{what}: a kernel can't tell them apart, so a score would say nothing. Name other images."
    )


def described(config: ml_collections.ConfigDict, space: SearchSpace) -> str:
    """Those inputs in words."""
    source, num_images, image_size = _input_fields(config)
    kind = f"clips of {space.frames} frames" if space.frames else "images"
    return f"{num_images} {source} {kind} of {image_size} px"


def _input_fields(config: ml_collections.ConfigDict) -> tuple[str, int, int]:
    return config.inputs.source, config.inputs.num_images, config.inputs.image_size


def make_supernet(
    config: ml_collections.ConfigDict,
    space: SearchSpace,
    measurements: Sequence[Measurement],
    images: Float[np.ndarray, "n *image 3"],
) -> Supernet:
    """The supernet with the views of the images that the measurements need, by the config's `ntk`,
    `fourier` and `seed`.

    Raises:
        UserError: for features that can't be, also where no score asks for them.
    """
    fourier.channels(config.fourier.mode, config.fourier.num_features)
    batches = views(
        images, needed_views(measurements), jax.random.key(config.seed), **config.fourier
    )
    return Supernet(space, batches, KernelSettings(**config.ntk), seed=config.seed)
