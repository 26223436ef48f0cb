"""What tests of the structured kernel share: models of one layer, and the kernel in two types."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vintk_jax import ntk

F64 = np.dtype("float64")


class Around(nn.Module):
    """One layer, then a fixed nonlinear read-out: every parameter is the layer's, so that no other
    share dilutes a mistake.
    """

    layer: nn.Module
    args: tuple = ()
    integers: bool = False

    def __call__(self, x):
        inputs = jnp.round(jnp.abs(3 * x)).astype(int) % 5 if self.integers else x
        y = self.layer(inputs, *self.args).reshape(x.shape[0], -1)
        read_out = np.random.default_rng(0).standard_normal((y.shape[1], 3))
        return jnp.tanh(y) @ jnp.asarray(read_out, y.dtype)


def normal(*shape, seed=0):
    return jnp.asarray(np.float32(np.random.default_rng(seed).standard_normal(shape)))


DIRECTION = normal(3, 1, seed=1)


def structured_kernel(model, variables, x, **options):
    """`ntk.kernel`, compiled."""

    @jax.jit
    def run(variables, x):
        return ntk.kernel(model, variables, x, **options)

    return run(variables, x)


def in_float64(model, variables, x, **options):
    def wide(leaf):
        return np.asarray(leaf, F64)

    with jax.enable_x64(True):
        variables, x = jax.tree.map(wide, (variables, x))
        return np.asarray(structured_kernel(model, variables, x, dtype=F64, **options))
