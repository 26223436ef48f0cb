"""What an architecture costs, as a score: the trivial rankings that every proxy has to beat. More is better."""

from vintk_jax.proxies.base import Proxy

COST_PROXIES = (
    Proxy("params", lambda space, arch: space.cost(arch).params, of="architecture"),
    Proxy("flops", lambda space, arch: space.cost(arch).flops, of="architecture"),
    Proxy("depth", lambda space, arch: space.total_depth(arch), of="architecture"),
)
