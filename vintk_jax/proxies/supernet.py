"""The supernet of a space with its weights drawn, ready on the devices: what all measurements of a
space's architectures share.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Float

from vintk_jax import ntk
from vintk_jax.errors import UserError
from vintk_jax.ntk import fourier
from vintk_jax.proxies.base import PLAIN, Measurement
from vintk_jax.spaces import SearchSpace


@dataclasses.dataclass(frozen=True)
class KernelSettings:
    """How kernels are computed; the fields are those of the configs' `ntk` section."""

    implementation: str = "structured"
    cotangent: str = "random"
    num_directions: int = 1
    num_seeds: int = 1
    num_classes: int = 100
    dtype: str = "float32"
    memory_gb: float = 0.0


def views(
    images: Float[np.ndarray, "n *image 3"], wanted: Sequence[str], key: jax.Array, **settings: Any
) -> dict[str, Float[np.ndarray, "n *image channels"]]:
    """The inputs that kernels are computed on: "plain" images (or clips), and their random
    "fourier" features (see `ntk.fourier`).
    """
    by_name = {}
    for name in wanted:
        if name == PLAIN:
            by_name[name] = images
        elif name == "fourier":
            mapped = fourier.fourier_images(jnp.asarray(images), key, **settings)
            by_name[name] = np.asarray(mapped)
        else:
            raise UserError(f"Expected the view plain or fourier of the inputs, got {name!r}.")
    return by_name


def needed_views(measurements: Iterable[Measurement]) -> list[str]:
    """The views of the inputs that measurements are taken on; a network is measured on the plain
    images.
    """
    needed = {m.view for m in measurements if m.of != "architecture"}
    others = sorted(needed - {PLAIN})
    return [PLAIN, *others] if PLAIN in needed else others


class Supernet:
    """The supernet's weights, the inputs and the output directions, drawn once and put on every
    device.

    Args:
        images: by view, all of one number.
        seed: draws weights and directions: the same for all architectures, so that they differ in
            nothing else.

    Raises:
        UserError: for settings that don't exist.
    """

    def __init__(
        self,
        space: SearchSpace,
        images: dict[str, Float[np.ndarray, "n *image channels"]],
        settings: KernelSettings,
        *,
        seed: int,
    ):
        if settings.dtype not in ("float32", "float64"):
            raise UserError(f"Expected ntk.dtype to be float32 or float64, got {settings.dtype!r}.")
        if settings.implementation not in ntk.IMPLEMENTATIONS:
            raise UserError(
                f"Expected ntk.implementation to be one of {', '.join(ntk.IMPLEMENTATIONS)}, got "
                f"{settings.implementation!r}."
            )
        if settings.cotangent not in ntk.COTANGENTS:
            raise UserError(
                f"Expected ntk.cotangent to be one of {', '.join(ntk.COTANGENTS)}, got "
                f"{settings.cotangent!r}."
            )
        self.space = space
        self.settings = settings
        self.devices = jax.local_devices()
        self.mesh = jax.make_mesh(
            (len(self.devices),), ("candidates",), axis_types=(AxisType.Auto,), devices=self.devices
        )
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        dtype = jnp.dtype(settings.dtype)
        self.images = jax.device_put(
            {k: jnp.asarray(v, dtype) for k, v in images.items()}, everywhere
        )
        self.image_size = next(iter(images.values())).shape[-2] if images else 0
        keys = jax.random.split(jax.random.key(seed), settings.num_seeds)
        self.keys = jax.device_put(keys, everywhere)
        params, outputs = self._init(keys)
        self.params = jax.device_put(params, everywhere)

        def draw_directions(key):
            return ntk.directions(settings.cotangent, outputs, key, settings.num_directions)

        keys_of_directions = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, 1)
        directions = jax.vmap(draw_directions)(keys_of_directions).astype(dtype)
        self.directions = jax.device_put(directions, everywhere)

    def model(self, **options: Any):
        """The module."""
        return self.space.supernet(self.image_size, self.settings.num_classes, **options)

    def _init(self, keys) -> tuple[dict[str, dict], tuple[int, ...]]:
        """Weights by view, stacked over seeds; and the shape of the output for one image:
        (classes,), or (height, width, classes).

        Views share all weights but those of the first layer, which their channels reshape.
        """
        if not self.images:
            return {}, (self.settings.num_classes,)
        model = self.model()
        first, *others = self.images
        shapes = []

        def draw(view, key):
            images = jnp.zeros(self.images[view].shape, self.images[view].dtype)
            outputs, params = model.init_with_output(key, images)
            shapes.append(outputs.shape[1:])  # as it is traced; the outputs are not computed
            return params

        params = {first: jax.jit(jax.vmap(partial(draw, first)))(keys)}
        leaves, tree = jax.tree.flatten(params[first])

        def reshaped(view, key):
            pairs = zip(jax.tree.leaves(draw(view, key)), leaves, strict=True)
            return {
                i: leaf for i, (leaf, shared) in enumerate(pairs) if leaf.shape != shared.shape[1:]
            }

        for view in others:
            of_view = jax.jit(jax.vmap(partial(reshaped, view)))(keys)
            params[view] = jax.tree.unflatten(
                tree, [of_view.get(i, leaf) for i, leaf in enumerate(leaves)]
            )
        return params, shapes[0]
