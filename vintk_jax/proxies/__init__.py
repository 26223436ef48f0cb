"""Training-free scores of architectures, by name; in the code a score's function is a proxy. A
higher score is a better architecture. A new proxy is one function and one line.
"""

from vintk_jax.proxies.activations import ACTIVATION_PROXIES
from vintk_jax.proxies.base import Measurement, Network, Proxy, definitions
from vintk_jax.proxies.block_counts import COUNT_PROXIES
from vintk_jax.proxies.costs import COST_PROXIES
from vintk_jax.proxies.gradients import GRADIENT_PROXIES
from vintk_jax.proxies.kernels import KERNEL_PROXIES
from vintk_jax.registry import Registry

_PROXIES = Registry(
    "score",
    {
        proxy.name: proxy
        for proxy in (
            *COUNT_PROXIES,
            *COST_PROXIES,
            *KERNEL_PROXIES,
            *GRADIENT_PROXIES,
            *ACTIVATION_PROXIES,
        )
    },
)


def get(name: str) -> Proxy:
    """The proxy of that name, or of an import path `package.module:attribute`: a `Proxy`, or a
    function of the kernels by view.

    Raises:
        UnknownName: naming the nearest proxy there is.
    """
    proxy = _PROXIES.get(name)
    if isinstance(proxy, Proxy):
        return proxy
    return Proxy.of_kernels(name, proxy, "plain", "fourier")


def names() -> list[str]:
    """The built-in proxies."""
    return _PROXIES.names()


__all__ = ["Measurement", "Network", "Proxy", "definitions", "get", "names"]
