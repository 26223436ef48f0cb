"""Multiply-adds of programs small enough to count by hand."""

import jax
import jax.numpy as jnp

from vintk_jax.multiply_adds import multiply_adds


def test_products_loops_and_convolutions():
    """A batched product, one in a loop, a convolution, and a depth-wise one."""
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 3, 4), (2, 4, 5))]
    assert multiply_adds(lambda a, b: a @ b, *shapes) == 2 * 3 * 4 * 5

    def loop(a):
        return jax.lax.fori_loop(0, 7, lambda i, c: c @ c, a)

    assert multiply_adds(loop, jax.ShapeDtypeStruct((3, 3), jnp.float32)) == 7 * 27
    image = jax.ShapeDtypeStruct((5, 8, 9, 4), jnp.float32)

    def of(kernel, groups):
        return lambda a: jax.lax.conv_general_dilated(
            a,
            jnp.ones(kernel),
            (1, 1),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    assert multiply_adds(of((2, 3, 4, 6), 1), image) == 5 * 7 * 7 * 6 * 2 * 3 * 4
    assert multiply_adds(of((2, 3, 1, 4), 4), image) == 5 * 7 * 7 * 4 * 2 * 3


def test_products_that_are_written_out():
    """A sum over the product of two arrays spread over each other's axes is a matrix product; a
    weighted sum and a square are not.
    """
    a, b = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 3, 5), (2, 4, 5)))
    assert (
        multiply_adds(lambda a, b: jnp.sum(a[:, :, None] * b[:, None], axis=-1), a, b)
        == 2 * 3 * 4 * 5
    )
    assert multiply_adds(lambda a: jnp.sum(a * jnp.arange(5.0)) + jnp.sum(a * a), a) == 0
