"""Measurements of many architectures by one compiled function: the supernet, masked."""

import operator
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from vintk_jax import ntk
from vintk_jax.errors import UserError
from vintk_jax.ntk import memory
from vintk_jax.ntk.verify import verify
from vintk_jax.proxies.base import PLAIN, STEM, Measured, Measurement, Network, Proxy
from vintk_jax.proxies.supernet import Supernet
from vintk_jax.proxies.widths import MOST_WIDTHS, Widths
from vintk_jax.spaces import supernet_conformance

_FIRST = operator.itemgetter(0)  # of arrays stacked over draws


class Scorer:
    """Takes measurements of batches of architectures.

    Candidates are spread over the devices. On a CPU's device they are mapped one after another: a
    skipped block costs nothing, and each core works on its own candidate. On other devices they are
    vmapped. Measurements of the architecture alone need no compilation.

    Args:
        batch_size: candidates a call; rounded up to fill the devices. 0 chooses 4 a CPU device (a
            call's memory is paged in once for all), 16 on others.
    """

    def __init__(
        self, supernet: Supernet, measurements: Sequence[Measurement], *, batch_size: int = 0
    ):
        self.supernet = supernet
        self._space = supernet.space
        self._settings = supernet.settings
        self._counted = [m for m in measurements if m.of == "architecture"]
        self._compiling = {m.group: m for m in measurements if m.of != "architecture"}
        self._names = [m.name for m in measurements if m.of != "architecture"]
        self._stems: dict[bytes, dict[str, np.ndarray]] = {}
        self._mapped = supernet.devices[0].platform == "cpu"
        # Under vmap all widths would be computed for each candidate; neural-tangents compiles long.
        by_width = self._mapped and self._settings.implementation == "structured"
        self._widths = Widths(supernet, MOST_WIDTHS if by_width else 1)
        count = len(supernet.devices)
        self.batch_size = -(-(batch_size or count * (4 if self._mapped else 16)) // count) * count
        # Where candidates are mapped, a call of few takes as much less time: the first result is
        # there soon.
        self.first_batch_size = count if self._mapped else self.batch_size
        self._spread = NamedSharding(supernet.mesh, PartitionSpec("candidates"))
        self._structure = None  # the same for all widths and views
        self._compiled = None
        self.peak_bytes = 0

    def _arguments(self, archs: Sequence[Any], masks: Sequence[dict]) -> tuple:
        net = self.supernet
        drawn = (net.params, net.images, net.directions, net.keys)
        return *drawn, *self._stack(masks, [self._widths.place(arch) for arch in archs])

    def compile(self) -> None:
        """Compile the one function, in the first variant that fits into memory: as it is, then
        recomputing activations, then in chunks.

        Raises:
            OutOfMemory: when none fits, before anything has run.
        """
        if self._compiled is not None or not self._compiling:
            return
        layers = any(m.of == "layers" for m in self._compiling.values())
        if layers and self._settings.implementation != "structured":
            raise UserError(
                "Expected ntk.implementation=structured, for a score that is made of kernels by "
                f"layer, got {self._settings.implementation}."
            )
        n = next(iter(self.supernet.images.values())).shape[0]
        kernels = (
            any(m.of == "kernel" for m in self._compiling.values())
            and self._settings.implementation == "structured"
        )
        if kernels and not type(self._space).__module__.startswith("vintk_jax."):
            self._verify()
        chunks = [n // parts for parts in (4, 8) if n % parts == 0 and kernels]
        variants = [(False, None), (True, None), *((True, chunk) for chunk in chunks)]
        example = self._space.example()
        arguments = self._arguments([example], [self._space.masks(example)])

        def compiled(variant):
            return self._build(*variant).lower(*arguments).compile()

        _, self._compiled, self.peak_bytes = memory.first_fitting(
            variants,
            compiled,
            memory.available_bytes(self._settings.memory_gb),
            "Lower inputs.num_images, inputs.image_size or search.batch_size, or choose a smaller "
            "space.",
        )

    def _verify(self) -> None:
        """Hold the structured kernel of a space that isn't ours against gradients, and its part of
        one width against the whole, for one of its architectures.
        """
        if len(self._widths) > 1:
            narrowest = min(self._space.by_width().items())[1]
            supernet_conformance.parts(
                self._space,
                [narrowest.example()],
                self.supernet.image_size,
                self._settings.num_classes,
            )
        model = self.supernet.model()
        masks = self._space.masks(self._space.example())
        masks = jax.tree.map(partial(jnp.asarray, dtype=jnp.float32), masks)
        view = next(iter(self.supernet.images))
        params = jax.tree.map(_FIRST, self.supernet.params[view])

        def apply(params, images):
            return model.apply(params, images, masks=masks)

        verify(apply, params, self.supernet.images[view], (type(self._space), self._space))

    def _build(self, remat: bool, chunk: int | None):
        """The one function, not yet compiled: from arrays, masks of candidates and the places of
        their widths to measured.
        """

        def one(params, images, directions, keys, masks, place):
            def within(number, measurement):
                """The measurement within that supernet of `_widths`."""
                model = self._widths.model(number, remat=remat)

                def run(params, masks):
                    view = measurement.view
                    of_view, cut = self._widths.cut(number, view, params[view], masks)
                    of_view = {**params, view: of_view}

                    def of_seed(drawn):
                        return self._measured(measurement, model, chunk, images, cut, *drawn)

                    return jax.lax.map(of_seed, (of_view, directions, keys))

                return run

            def measured(measurement):
                # Only a kernel doesn't see columns that are switched off.
                if measurement.of != "kernel" or len(self._widths) == 1:
                    return within(len(self._widths) - 1, measurement)(params, masks)
                branches = [within(i, measurement) for i in range(len(self._widths))]
                return jax.lax.switch(place, branches, params, masks)

            return {group: measured(m) for group, m in self._compiling.items()}

        def many(params, images, directions, keys, masks, places):
            def candidate(own):
                return one(params, images, directions, keys, *own)

            each = (masks, places)
            return jax.lax.map(candidate, each) if self._mapped else jax.vmap(candidate)(each)

        everywhere = PartitionSpec()
        spread = PartitionSpec("candidates")
        specs = (everywhere, everywhere, everywhere, everywhere, spread, spread)
        return jax.jit(
            jax.shard_map(
                many, mesh=self.supernet.mesh, in_specs=specs, out_specs=spread, check_vma=False
            )
        )

    def _measured(self, measurement, model, chunk, images, masks, params, directions, key):
        """One measurement of one candidate under one draw of the weights."""
        settings = self._settings
        if measurement.of == "network":
            net = Network(model, params[PLAIN], images[PLAIN], masks, settings.num_classes, key)
            with jax.default_matmul_precision("highest"):
                return measurement.function(net)
        of_view = (params[measurement.view], images[measurement.view])
        options = {"cotangent": directions, "masks": masks, "dtype": jnp.dtype(settings.dtype)}
        if measurement.of == "layers":
            return ntk.by_layer(model, *of_view, measure=measurement.function, **options)
        if settings.implementation == "structured" and self._structure is None:
            self._structure = ntk.structure_of(model, *of_view, masks)
        return ntk.kernel(
            model,
            *of_view,
            implementation=settings.implementation,
            chunk=chunk,
            structure=self._structure,
            **options,
        )

    def _slots(self, count: int) -> list[int]:
        """Where each of `count` architectures goes in a call, so that all devices get as many."""
        devices = len(self.supernet.devices)
        return [i % devices * (self.batch_size // devices) + i // devices for i in range(count)]

    def _stack(self, masks: Sequence[dict], places: Sequence[int]):
        """Masks and places of a call. Slots left over are masked as a whole, so that a mapped
        scorer skips their blocks.
        """
        slots = [jax.tree.map(np.zeros_like, masks[0])] * self.batch_size
        at = np.zeros(self.batch_size, np.int32)
        for slot, mask, place in zip(self._slots(len(masks)), masks, places, strict=True):
            slots[slot] = mask
            at[slot] = place

        def stacked(*leaves):
            return np.stack(leaves).astype(self._settings.dtype)

        return jax.device_put((jax.tree.map(stacked, *slots), at), self._spread)

    def _run(self, archs: Sequence[Any], masks: Sequence[dict]) -> list[dict[str, Any]]:
        """What is compiled, for masks of up to `batch_size` architectures; by mask, arrays with a
        leading axis of seeds.
        """
        self.compile()
        out = jax.device_get(self._compiled(*self._arguments(archs, masks)))
        return [jax.tree.map(operator.itemgetter(slot), out) for slot in self._slots(len(masks))]

    def _without_blocks(self, archs: Sequence[Any]) -> list[dict[str, np.ndarray]]:
        """Kernels of the architectures' stems. Few differ (a space's widths), and each is computed
        once, by the same compiled function.
        """
        masks = [self._space.stem_masks(arch) for arch in archs]
        keys = [
            b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(mask)) for mask in masks
        ]
        missing = {
            key: (arch, mask)
            for key, arch, mask in zip(keys, archs, masks, strict=True)
            if key not in self._stems
        }
        if missing:
            stems = self._run(*map(list, zip(*missing.values(), strict=True)))
            self._stems |= dict(zip(missing, stems, strict=True))
        return [
            {f"{name}{STEM}": kernels for name, kernels in self._stems[key].items()} for key in keys
        ]

    def measure(self, archs: Sequence[Any]) -> list[list[Measured]]:
        """Measurements of up to `batch_size` architectures: by architecture, seed, name."""
        computed: list[dict[str, Any]] = [{} for _ in archs]
        if self._compiling:
            computed = self._run(archs, [self._space.masks(arch) for arch in archs])
        if any(name.endswith(STEM) for name in self._names):
            for of_arch, stem in zip(computed, self._without_blocks(archs), strict=True):
                of_arch |= stem

        def of_seed(of_arch: dict[str, Any], seed: int) -> dict[str, Any]:
            def draw(array):
                return np.asarray(array[seed])

            return jax.tree.map(draw, {name: of_arch[name] for name in self._names})

        measured = []
        for arch, of_arch in zip(archs, computed, strict=True):
            counted = {m.name: np.asarray(m.function(self._space, arch)) for m in self._counted}
            seeds = range(self._settings.num_seeds)
            measured.append([{**of_seed(of_arch, seed), **counted} for seed in seeds])
        return measured


def kernel_by_layer(supernet: Supernet, arch: Any) -> dict[str, np.ndarray]:
    """The plain kernel of one architecture by layer (see `ntk.by_layer`), under the first draw of
    the weights.
    """
    masks = jax.tree.map(jnp.asarray, supernet.space.masks(arch))
    params = jax.tree.map(_FIRST, supernet.params[PLAIN])

    @jax.jit
    def run(params, images, direction, masks):
        return ntk.by_layer(
            supernet.model(),
            params,
            images,
            cotangent=direction,
            masks=masks,
            dtype=jnp.dtype(supernet.settings.dtype),
        )

    return jax.device_get(run(params, supernet.images[PLAIN], supernet.directions[0], masks))


def _finite(measured: Any) -> bool:
    return all(np.isfinite(array).all() for array in jax.tree.leaves(measured))


def score(proxy: Proxy, measured: Sequence[Measured], arch_json: dict) -> list[Any]:
    """A proxy's value for each seed: a number, or several for a proxy that is joined over
    candidates.

    Raises:
        UserError: naming the architecture, when a measurement or the score is not a finite number.
    """
    values = []
    for seed, of_seed in enumerate(measured):
        infinite = [m for m in proxy.measurements if not _finite(of_seed[m.name])]
        if infinite:
            names = [f"{m.name} kernel" if m.of == "kernel" else m.name for m in infinite]
            what = " and ".join(names)
            raise UserError(
                f"The {what} of architecture {arch_json} (weights of draw {seed}) holds NaN or "
                "infinity. Check the inputs for extreme values, lower fourier.sigma, or set "
                "ntk.dtype=float64."
            )
        try:
            value = proxy.score(of_seed)
            value = [float(v) for v in value] if proxy.join else float(value)
        except UserError:
            raise
        except Exception as error:  # of a user's own score, which may do anything
            raise UserError(
                f"The score {proxy.name} wants to be a number, but for architecture {arch_json} it "
                f"raised {type(error).__name__}: {error}"
            ) from error
        if not np.isfinite(value).all():
            raise UserError(f"The score {proxy.name} gave {value} for architecture {arch_json}.")
        values.append(value)
    return values
