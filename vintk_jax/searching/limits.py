"""Limits on what an architecture may cost, counted or measured."""

import dataclasses
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp

from vintk_jax.errors import UserError
from vintk_jax.spaces import Cost, SearchSpace


@dataclasses.dataclass(frozen=True)
class Limits:
    """Upper limits on the cost of one image of the space's `cost_size`. 0 is no limit.

    Attributes:
        max_params_m: millions of parameters.
        max_flops_m: millions of multiply-adds.
        max_latency_ms: milliseconds for one image on this machine; measured, so a search under it
            is exact only up to the clock.
    """

    max_params_m: float = 0.0
    max_flops_m: float = 0.0
    max_latency_ms: float = 0.0

    @property
    def of_counts(self) -> bool:
        """Whether parameters or multiply-adds are limited."""
        return bool(self.max_params_m or self.max_flops_m)

    def fits(self, space: SearchSpace, arch: Any) -> bool:
        """Whether an architecture keeps the limits that need no measuring. Where there are none,
        nothing is counted.
        """
        return not (self.of_counts and self.violations(space.cost(arch)))

    def check(self, space: SearchSpace) -> None:
        """Refuse limits that no architecture of a space meets.

        Raises:
            UserError: naming the limit and what the cheapest architecture costs.
        """
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise UserError(
                    f"Expected limits.{field.name} to be positive, or 0 for none, got "
                    f"{getattr(self, field.name)}."
                )
        if not self.of_counts:
            return
        cost = space.least()
        for name, least, unit in (
            ("max_params_m", cost.params, "million parameters"),
            ("max_flops_m", cost.flops, "million multiply-adds"),
        ):
            limit = getattr(self, name)
            if limit and least > limit * 1e6:
                raise UserError(
                    f"limits.{name}={limit:g} can't be met: the smallest architecture of "
                    f"{space.name} has {least / 1e6:.3f} {unit}. "
                    "Raise the limit or choose a smaller space."
                )

    def violations(self, cost: Cost, latency_ms: float | None = None) -> dict[str, float]:
        """How far each exceeded limit is exceeded, as a fraction of it."""
        values = {
            "max_params_m": cost.params / 1e6,
            "max_flops_m": cost.flops / 1e6,
            "max_latency_ms": latency_ms or 0.0,
        }
        excess = {
            name: value / getattr(self, name) - 1
            for name, value in values.items()
            if getattr(self, name)
        }
        return {name: value for name, value in excess.items() if value > 0}


def measure_latency_ms(space: SearchSpace, arch: Any, repeats: int = 15) -> float:
    """Median milliseconds of one forward pass for one image on the first device, compiled, weights
    drawn at random.
    """
    model = space.model(arch)
    image = jax.device_put(jnp.zeros((1, *space.input_shape())), jax.local_devices()[0])
    params = jax.jit(model.init)(jax.random.key(0), image)
    forward = jax.jit(model.apply).lower(params, image).compile()
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        jax.block_until_ready(forward(params, image))
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[3:])
