"""Convolution by patches against XLA's."""

import flax.linen as nn
import jax
import pytest

from vintk_jax.models.convolution import by_product


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"padding": 1, "strides": 2},
        {"padding": "VALID", "strides": (1, 2)},
        {"padding": ((0, 2), (1, 0)), "strides": (3, 1)},
        {"kernel_dilation": (2, 1)},
        {"kernel_dilation": (2, 1), "input_dilation": (1, 3), "padding": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("sides", [(1, 1), (3, 2)])
def test_by_product_is_linens_convolution(sides, options, variables_for, relative_error):
    """Output, and gradients with respect to kernel and input, for every kind of stride, padding and
    dilation.
    """
    x = jax.random.normal(jax.random.key(0), (2, 7, 6, 3))
    plain = nn.Conv(4, sides, **options)
    ours = nn.Conv(4, sides, **options, conv_general_dilated=by_product)
    variables = variables_for(plain, x)

    def both(model):
        def cubes(variables, x):
            return (model.apply(variables, x) ** 3).sum()

        return jax.jit(jax.value_and_grad(cubes, argnums=(0, 1)))(variables, x)

    wanted, wanted_gradients = both(plain)
    got, gradients = both(ours)
    assert relative_error(got, wanted) < 1e-4
    for one, other in zip(
        jax.tree.leaves(gradients), jax.tree.leaves(wanted_gradients), strict=True
    ):
        assert relative_error(one, other) < 1e-5
