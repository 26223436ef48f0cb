"""What tests of network proxies share: all measurements of a network by one compiled function."""

import functools

import jax

from vintk_jax import proxies
from vintk_jax.data import inputs
from vintk_jax.proxies.base import Network
from vintk_jax.spaces.autoformer import AutoFormer, AutoFormerSpace

IMAGES = inputs.load("photos", 4, 32, 0).images
MINI = AutoFormerSpace("mini", (16, 24), (2, 3), (1, 2), (1.0, 2.0))
# Switches off columns, heads, hidden units and a block, and has blocks to compare.
ARCH = AutoFormer(16, 2, (1, 2), (2.0, 1.0))
NAMES = ("grad_norm", "snip", "grasp", "synflow", "zico", "dss", "fisher", "naswot", "az_nas")
MEASUREMENTS = list(
    dict.fromkeys(m for name in NAMES for m in proxies.get(name).measurements if m.of == "network")
)


@functools.cache
def together(model, names):
    """A compiled function (variables, images, key) -> the measurements of those names."""

    @jax.jit
    def run(params, images, key):
        net = Network(model, params, images, None, 5, key)
        return {m.name: m.function(net) for m in MEASUREMENTS if m.name in names}

    return run
