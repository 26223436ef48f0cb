"""Resampling of patch kernels and position tables."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from vintk_jax.models import patch_embed, resample
from vintk_jax.models.patch_embed import PatchEmbed, PositionEmbed

sizes = st.integers(1, 12)


@given(old=sizes, new=sizes)
def test_interpolation_matrix_is_piecewise_linear(old, new):
    """Each column is np.interp of a unit impulse at the new samples' centres, clamped at the
    borders.
    """
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    wanted = np.stack(
        [np.interp(centres, np.arange(old), impulse) for impulse in np.eye(old)], axis=1
    )
    np.testing.assert_allclose(resample.interpolation_matrix(old, new), wanted, atol=1e-12)


@pytest.mark.parametrize(("old", "new"), [(8, 12), (8, 32), (5, 7), (1, 3), (12, 5), (16, 8)])
def test_interpolation_matrix_is_jax_resize(old, new):
    """Each column is what jax.image.resize makes of a unit impulse, without antialiasing, up and
    down.
    """
    wanted = jax.image.resize(np.eye(old, dtype=np.float32), (new, old), "linear", antialias=False)
    np.testing.assert_allclose(resample.interpolation_matrix(old, new), wanted, atol=1e-6)


@given(
    old=st.tuples(sizes, sizes),
    more=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    seed=st.integers(0, 99),
)
def test_upsized_patch_under_resampled_kernel_embeds_alike(old, more, seed):
    """FlexiViT, equation 1: <resize(x), PI-resize(w)> = <x, w>, with the axes resized by different
    factors.
    """
    rng = np.random.default_rng(seed)
    x, w = rng.standard_normal((2, *old))
    new = (old[0] + more[0], old[1] + more[1])
    resized = (
        resample.interpolation_matrix(old[0], new[0])
        @ x
        @ resample.interpolation_matrix(old[1], new[1]).T
    )
    kernel = resample.kernel_matrix(old[0], new[0]) @ w @ resample.kernel_matrix(old[1], new[1]).T
    np.testing.assert_allclose(np.sum(resized * kernel), np.sum(x * w), atol=1e-9)


@given(old=st.integers(2, 12), fewer=st.integers(1, 11), seed=st.integers(0, 99))
def test_downsizing_is_the_least_squares_best(old, fewer, seed):
    """FlexiViT, equation 2: no small change of the resampled kernel brings B' w nearer to w."""
    new = max(1, old - fewer)
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(old)
    b = resample.interpolation_matrix(old, new)
    best = resample.kernel_matrix(old, new) @ w
    residual = b.T @ best - w
    np.testing.assert_allclose(b @ residual, 0, atol=1e-9)  # the normal equations


@pytest.mark.parametrize("grid", [(4, 4), (2, 4), (8, 2)])
def test_patch_embed_equals_product_with_native_patches(grid, variables_for):
    """The layer at any grid is the stored kernel times the patches expressed in the native kernel's
    pixels; at the native one, a conv.
    """
    module = PatchEmbed(patch_size=8, embed_dim=5)
    images = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((3, 32, 32, 2))))
    variables = variables_for(module, images, grid)

    @jax.jit
    def run(variables, images):
        conv = jax.lax.conv_general_dilated(
            images,
            variables["params"]["kernel"],
            (8, 8),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        patches = patch_embed.native_patches(images, grid, 8)
        return module.apply(variables, images, grid), patches, conv

    got, patches, conv = map(np.asarray, run(variables, images))
    kernel, bias = (np.asarray(variables["params"][name]) for name in ("kernel", "bias"))
    assert kernel.shape == (8, 8, 2, 5)
    assert got.shape == (3, grid[0] * grid[1], 5)
    np.testing.assert_allclose(got, patches @ kernel.reshape(-1, 5) + bias, atol=2e-4)
    if grid == (4, 4):
        np.testing.assert_allclose(got, conv.reshape(3, -1, 5) + bias, atol=1e-4)


def test_upsized_image_embeds_alike_in_the_layer(variables_for):
    """Patches resized to 12 x 16 pixels give the tokens of the 8 x 8 ones, when the grid is
    kept.
    """
    module = PatchEmbed(patch_size=8, embed_dim=5)
    # n, rows, columns, then pixels
    patches = np.float32(np.random.default_rng(0).standard_normal((2, 3, 2, 8, 8, 3)))

    def images(patches):
        return patches.transpose(0, 1, 3, 2, 4, 5).reshape(
            2, 3 * patches.shape[3], 2 * patches.shape[4], 3
        )

    variables = variables_for(module, jnp.asarray(images(patches)), (3, 2))

    @jax.jit
    def run(patches):
        upsized = jax.image.resize(patches, (2, 3, 2, 12, 16, 3), "linear", antialias=False)
        return [module.apply(variables, images(p), (3, 2)) for p in (patches, upsized)]

    np.testing.assert_allclose(*run(patches), atol=2e-4)


def test_patches_are_cut_in_raster_order():
    """Patch i covers row i // columns and column i % columns of the grid."""
    images = np.arange(2 * 6 * 8 * 3, dtype=np.float32).reshape(2, 6, 8, 3)
    patches = jax.jit(patch_embed.cut_patches, static_argnums=1)(images, (3, 2))
    patches = np.asarray(patches)
    for i in range(6):
        r, c = divmod(i, 2)
        np.testing.assert_array_equal(
            patches[:, i], images[:, 2 * r : 2 * r + 2, 4 * c : 4 * c + 4]
        )


@pytest.mark.parametrize("extra", [0, 1, 3])
def test_positions_keep_extra_rows_and_resize_the_grid(extra):
    """Rows ahead of the grid stay; the grid is what jax.image.resize gives; the same grid changes
    nothing.
    """
    table = np.float32(np.random.default_rng(0).standard_normal((extra + 12, 5)))

    @jax.jit
    def run(table):
        on_grid = table[extra:].reshape(3, 4, 5)
        return (
            resample.resample_positions(table, (3, 4), (3, 4)),
            resample.resample_positions(table, (3, 4), (5, 2)),
            jax.image.resize(on_grid, (5, 2, 5), "linear", antialias=False),
        )

    same, got, wanted = map(np.asarray, run(table))
    np.testing.assert_array_equal(same, table)
    assert got.shape == (extra + 10, 5)
    np.testing.assert_array_equal(got[:extra], table[:extra])
    np.testing.assert_allclose(got[extra:], wanted.reshape(10, 5), atol=1e-6)


def test_position_embed_adds_the_resampled_table(variables_for):
    """The layer adds the same rows to every sample."""
    module = PositionEmbed(native_grid=(2, 2))
    x = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((3, 10, 4))))
    variables = variables_for(module, x, (3, 3))
    assert variables["params"]["table"].shape == (5, 4)

    @jax.jit
    def run(variables, x):
        rows = resample.resample_positions(variables["params"]["table"], (2, 2), (3, 3))
        return module.apply(variables, x, (3, 3)) - x, rows

    added, wanted = run(variables, x)
    np.testing.assert_allclose(added, np.broadcast_to(wanted, x.shape), atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(32, 16), (64, 16), (30, 8), (12, 16), (16, 16)])
def test_shrinking_is_jaxs(old, new):
    """The antialiased linear resize of jax.image, on both axes."""
    image = np.random.default_rng(0).standard_normal((old, old, 3)).astype(np.float32)
    matrix = resample.shrinking_matrix(old, new)
    wanted = jax.image.resize(image, (new, new, 3), "linear", antialias=True)
    np.testing.assert_allclose(
        np.einsum("ah,bw,hwc->abc", matrix, matrix, image), wanted, atol=1e-5
    )
