"""What an architecture costs, as a score: the trivial rankings that every proxy has to beat. More
is better.
"""

from vintk_jax.proxies.base import Proxy

COST_PROXIES = (
    Proxy.of_architecture("params", lambda space, arch: space.cost(arch).params),
    Proxy.of_architecture("flops", lambda space, arch: space.cost(arch).flops),
    Proxy.of_architecture("depth", lambda space, arch: space.total_depth(arch)),
)
