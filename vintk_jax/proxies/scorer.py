"""Kernels of many architectures by one compiled function: the supernet, masked, on every view of the inputs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Float

from vintk_jax import ntk
from vintk_jax.errors import UserError
from vintk_jax.ntk import fourier, memory
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
    images: Float[np.ndarray, "n height width 3"], wanted: Sequence[str], key: jax.Array, **settings: Any
) -> dict[str, Float[np.ndarray, "n height width channels"]]:
    """The inputs that kernels are computed on: "plain" images, and their random "fourier" features (see `ntk.fourier`)."""
    made = {"plain": lambda: images, "fourier": lambda: np.asarray(fourier.fourier_images(jnp.asarray(images), key, **settings))}
    return {name: made[name]() for name in wanted}


class Scorer:
    """Kernels of batches of architectures.

    Candidates are spread over the devices; on a device of a CPU they are mapped one after another, so that a skipped block costs nothing
    and each core works on a candidate of its own, elsewhere vmapped.

    Args:
        images: by view, all of one number.
        seed: draws weights and directions: the same for all architectures, so that they differ in nothing else.
        batch_size: candidates a call; rounded up to fill the devices. 0 chooses 4 a CPU device (a call's memory is paged in
            once for all), 16 on others.
    """

    def __init__(
        self,
        space: SearchSpace,
        images: dict[str, Float[np.ndarray, "n height width channels"]],
        settings: KernelSettings,
        *,
        seed: int,
        batch_size: int = 0,
    ):
        if settings.dtype not in ("float32", "float64"):
            raise UserError(f"ntk.dtype={settings.dtype!r} came; float32 or float64 was wanted.")
        if settings.implementation not in ntk.IMPLEMENTATIONS:
            raise UserError(f"ntk.implementation={settings.implementation!r} came; one of {', '.join(ntk.IMPLEMENTATIONS)} was wanted.")
        if settings.cotangent not in ntk.COTANGENTS:
            raise UserError(f"ntk.cotangent={settings.cotangent!r} came; one of {', '.join(ntk.COTANGENTS)} was wanted.")
        self._space, self._settings = space, settings
        self._devices = jax.local_devices()
        self._mapped = self._devices[0].platform == "cpu"
        count = len(self._devices)
        self.batch_size = -(-(batch_size or count * (4 if self._mapped else 16)) // count) * count
        mesh = jax.make_mesh((count,), ("candidates",), axis_types=(AxisType.Auto,), devices=self._devices)
        self._everywhere, self._spread = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("candidates"))
        self._mesh = mesh
        dtype = jnp.dtype(settings.dtype)
        self._images = jax.device_put({k: jnp.asarray(v, dtype) for k, v in images.items()}, self._everywhere)
        self._size = next(iter(images.values())).shape[1]
        keys = jax.random.split(jax.random.key(seed), settings.num_seeds)
        self._params = jax.device_put(self._init(keys), self._everywhere)
        draw = jax.vmap(lambda k: ntk.directions(settings.cotangent, (settings.num_classes,), k, settings.num_directions))
        self._directions = jax.device_put(draw(jax.vmap(lambda k: jax.random.fold_in(k, 1))(keys)).astype(dtype), self._everywhere)
        self._compiled = None
        self.peak_bytes = 0

    def _init(self, keys) -> dict[str, dict]:
        """Weights by view, stacked over seeds. Views share all but what their channels reshape: the first layer."""
        model = self._space.supernet(self._size, self._settings.num_classes)
        first, *others = self._images
        draw = lambda view: lambda key: model.init(key, jnp.zeros(self._images[view].shape, self._images[view].dtype))
        params = {first: jax.jit(jax.vmap(draw(first)))(keys)}
        leaves, tree = jax.tree.flatten(params[first])
        for view in others:
            shapes = jax.tree.leaves(jax.eval_shape(draw(view), keys[0]))
            new = [i for i, leaf in enumerate(leaves) if leaf.shape[1:] != shapes[i].shape]
            drawn = jax.jit(jax.vmap(lambda key, view=view, new=new: [jax.tree.leaves(draw(view)(key))[i] for i in new]))(keys)
            own = dict(zip(new, drawn, strict=True))
            params[view] = jax.tree.unflatten(tree, [own.get(i, leaf) for i, leaf in enumerate(leaves)])
        return params

    def compile(self) -> None:
        """Compile the one function, in the first variant that fits into memory: as it is, then recomputing activations, then in chunks.

        Raises:
            OutOfMemory: when none fits, before anything has run.
        """
        if self._compiled is not None:
            return
        n = next(iter(self._images.values())).shape[0]
        chunks = [n // parts for parts in (4, 8) if n % parts == 0]
        structured = self._settings.implementation == "structured"
        variants = [(False, None), *([(True, None), *((True, chunk) for chunk in chunks)] if structured else ())]
        masks = self._masks([self._space.cheapest()])
        _, self._compiled, self.peak_bytes = memory.first_fitting(
            variants,
            lambda variant: self._build(*variant).lower(self._params, self._images, self._directions, masks).compile(),
            memory.available_bytes(self._settings.memory_gb),
            "Lower inputs.num_images, inputs.image_size or search.batch_size, or choose a smaller space.",
        )

    def _build(self, remat: bool, chunk: int | None):
        settings = self._settings
        model = self._space.supernet(self._size, settings.num_classes, remat=remat)

        def one(params, images, directions, masks):
            def of_seed(drawn):
                params, directions = drawn
                kernel = lambda view: ntk.kernel(
                    model,
                    params[view],
                    images[view],
                    cotangent=directions,
                    masks=masks,
                    implementation=settings.implementation,
                    chunk=chunk,
                    dtype=jnp.dtype(settings.dtype),
                )
                return {view: kernel(view) for view in images}

            return jax.lax.map(of_seed, (params, directions))

        def many(params, images, directions, masks):
            candidate = lambda m: one(params, images, directions, m)
            return jax.lax.map(candidate, masks) if self._mapped else jax.vmap(candidate)(masks)

        everywhere, spread = PartitionSpec(), PartitionSpec("candidates")
        specs = (everywhere, everywhere, everywhere, spread)
        return jax.jit(jax.shard_map(many, mesh=self._mesh, in_specs=specs, out_specs=spread, check_vma=False))

    def _slots(self, count: int) -> list[int]:
        """Where each of `count` architectures goes in a call, so that all devices get as many."""
        devices = len(self._devices)
        return [i % devices * (self.batch_size // devices) + i // devices for i in range(count)]

    def _masks(self, archs: Sequence[Any]):
        """Masks of a call. Slots left over are masked as a whole, so that a mapped scorer skips their blocks."""
        masks = [self._space.masks(arch) for arch in archs]
        slots = [jax.tree.map(np.zeros_like, masks[0])] * self.batch_size
        for slot, mask in zip(self._slots(len(archs)), masks, strict=True):
            slots[slot] = mask
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *slots)
        return jax.device_put(jax.tree.map(lambda leaf: leaf.astype(self._settings.dtype), stacked), self._spread)

    def kernels(self, archs: Sequence[Any]) -> list[list[dict[str, Float[np.ndarray, "n n"]]]]:
        """Kernels of up to `batch_size` architectures: by architecture, seed, view."""
        self.compile()
        out = jax.device_get(self._compiled(self._params, self._images, self._directions, self._masks(archs)))
        seeds = range(self._settings.num_seeds)
        return [[{view: k[slot, s] for view, k in out.items()} for s in seeds] for slot in self._slots(len(archs))]


def score(proxy, kernels: list[dict[str, np.ndarray]], arch_json: dict) -> list[float]:
    """A proxy's value for each seed.

    Raises:
        UserError: naming the architecture, when a kernel or the score is not a finite number.
    """
    values = []
    for seed, views_ in enumerate(kernels):
        bad = [view for view, kernel in views_.items() if not np.isfinite(kernel).all()]
        if bad:
            raise UserError(
                f"The {' and '.join(bad)} kernel of architecture {arch_json} (weights of draw {seed}) holds NaN or infinity. Check the inputs for "
                "extreme values, lower fourier.sigma, or set ntk.dtype=float64. Finished candidates are kept."
            )
        value = float(proxy.score(views_))
        if not np.isfinite(value):
            raise UserError(f"score.name={proxy.name} gave {value} for architecture {arch_json}. Finished candidates are kept.")
        values.append(value)
    return values
