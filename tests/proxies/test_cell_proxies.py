"""Proxies on networks of convolutional cells, which have no transformer blocks;
`test_masked_proxies` compares masks with small models.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import proxies
from vintk_jax.errors import UserError
from vintk_jax.models.cells import OPERATIONS, ReluConvNorm
from vintk_jax.proxies.base import Network
from vintk_jax.spaces.nasbench201 import CellArch, CellSpace

CELLS = CellSpace("mini-cells", (4, 6), 2)
ARCH = CellArch(OPERATIONS[2:4] * 3)


def measure(name, model, images):
    """A function of the variables."""
    function = next(m for m in proxies.get(name).measurements if m.of == "network").function
    key = jax.random.key(1)

    def run(variables):
        return function(Network(model, variables, images, None, 5, key))

    return run


def test_az_nas_wants_transformer_blocks(variables_for):
    """A network of cells has none: told so, with what to do."""
    model = CELLS.model(ARCH, 8, num_classes=5)
    images = jnp.ones((2, 8, 8, 3))
    with pytest.raises(UserError, match=r"got a CellNet.*--config.proxies"):
        jax.eval_shape(measure("az_nas", model, images), variables_for(model, images))


def test_naswot_of_cells(variables_for):
    """Each ReLU ahead of a convolution counts, agreeing units pair by pair; from the layers'
    inputs, recorded as the network runs.
    """
    model = CELLS.model(ARCH, 8, num_classes=5)
    images = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((4, 8, 8, 3))))

    @jax.jit
    def run(variables):
        inputs = []

        def record(call, args, kwargs, context):
            if isinstance(context.module, ReluConvNorm):
                inputs.append(args[0])
            return call(*args, **kwargs)

        with nn.intercept_methods(record):
            model.apply(variables, images)
        return inputs, measure("naswot", model, images)(variables)

    inputs, got = run(variables_for(model, images))
    codes = [np.asarray(x > 0).reshape(len(images), -1) for x in map(np.asarray, inputs)]
    assert len(codes) == 2 * 2 * 6 + 2
    wanted = sum((code[:, None] == code[None]).sum(-1) for code in codes)
    np.testing.assert_array_equal(got, wanted)
