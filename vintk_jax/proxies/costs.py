"""What an architecture costs, as a score: parameters, multiply-adds, depth. More is better. Sums
over blocks stand in `block_counts`.
"""

from typing import Any

from vintk_jax.proxies.base import Measurement, Proxy


def _params(space: Any, arch: Any) -> int:
    return space.cost(arch).params


def _flops(space: Any, arch: Any) -> int:
    return space.cost(arch).flops


def _depth(space: Any, arch: Any) -> int:
    return space.total_depth(arch)


# Partial correlations hold this count fixed: of all counts it orders cifar_vit's first half best
# (docs/score_protocol.md).
FLOPS = Measurement("flops", "architecture", _flops)

COST_PROXIES = (
    Proxy.of_architecture("params", _params),
    Proxy.of_architecture("flops", _flops),
    Proxy.of_architecture("depth", _depth),
)
