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
    made = {
        "plain": lambda: images,
        "fourier": lambda: np.asarray(fourier.fourier_images(jnp.asarray(images), key, **settings)),
    }
    return {name: made[name]() for name in wanted}


def needed_views(measurements: Iterable[Measurement]) -> list[str]:
    """The views of the inputs that measurements are taken on; a network is measured on the plain
    images.
    """
    needed = {m.view for m in measurements if m.of != "architecture"}
    return sorted(needed, key=lambda view: (view != PLAIN, view))


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
            raise UserError(f"ntk.dtype={settings.dtype!r} came; float32 or float64 was wanted.")
        if settings.implementation not in ntk.IMPLEMENTATIONS:
            raise UserError(
                f"ntk.implementation={settings.implementation!r} came; one of "
                f"{', '.join(ntk.IMPLEMENTATIONS)} was wanted."
            )
        if settings.cotangent not in ntk.COTANGENTS:
            raise UserError(
                f"ntk.cotangent={settings.cotangent!r} came; one of {', '.join(ntk.COTANGENTS)} "
                "was wanted."
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
        draw = jax.vmap(
            lambda k: ntk.directions(settings.cotangent, outputs, k, settings.num_directions)
        )
        self.directions = jax.device_put(
            draw(jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys)).astype(dtype), everywhere
        )

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
            own = jax.jit(jax.vmap(partial(reshaped, view)))(keys)
            params[view] = jax.tree.unflatten(
                tree, [own.get(i, leaf) for i, leaf in enumerate(leaves)]
            )
        return params, shapes[0]
