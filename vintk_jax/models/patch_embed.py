"""From images to tokens: a resizable patch embedding, the class token, the position table. Clips
become tokens in `timesformer`, by the same embedding.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models import resample

Grid = tuple[int, int]


def grid_of(image_shape: tuple[int, ...], patch_size: int, grid: int | Grid | None) -> Grid:
    """The token grid for an image of shape (..., height, width, channels).

    Raises:
        ValueError: if the image does not divide into the patches or the grid asked for.
    """
    height, width = image_shape[-3:-1]
    if grid is None:
        wanted = f"multiples of the patch size {patch_size}"
        pieces = (height // patch_size, width // patch_size)
        fits = height % patch_size == 0 and width % patch_size == 0 and min(pieces) > 0
    else:
        pieces = (grid, grid) if isinstance(grid, int) else grid
        wanted = f"multiples of the token grid {pieces}"
        fits = min(pieces) > 0 and height % pieces[0] == 0 and width % pieces[1] == 0
    if not fits:
        raise ValueError(
            f"Expected images whose sides are {wanted}, got {height} x {width} pixels. Resize the "
            "images."
        )
    return pieces


def fit_to_grid(
    images: Float[Array, "n height width channels"], grid: Grid
) -> Float[Array, "n fitted_height fitted_width channels"]:
    """Images whose sides the grid divides: resized bilinearly to the nearest ones where they don't
    (224 px at 10 x 10 tokens: 220).

    Our choice: ReViT's abstract doesn't say how lengths that don't divide the image are cut.

    Raises:
        ValueError: for a grid finer than the pixels.
    """
    sides = images.shape[-3:-1]
    if min(grid) < 1 or any(g > side for g, side in zip(grid, sides, strict=True)):
        raise ValueError(
            f"Expected a grid of one pixel a token at least, got {grid} tokens for images of "
            f"{sides} pixels."
        )
    fitted = tuple(g * round(side / g) for g, side in zip(grid, sides, strict=True))
    for axis, (old, new) in enumerate(zip(sides, fitted, strict=True), start=1):
        if old != new:
            matrix = jnp.asarray(resample.interpolation_matrix(old, new), images.dtype)
            images = jnp.moveaxis(jnp.tensordot(matrix, images, (1, axis)), 0, axis)
    return images


def cut_patches(
    images: Float[Array, "n height width channels"], grid: Grid
) -> Float[Array, "n tokens rows columns channels"]:
    """Non-overlapping patches in raster order."""
    n, height, width, channels = images.shape
    rows = height // grid[0]
    columns = width // grid[1]
    x = images.reshape(n, grid[0], rows, grid[1], columns, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, grid[0] * grid[1], rows, columns, channels)


def native_patches(
    images: Float[Array, "n height width channels"], grid: Grid, patch_size: int
) -> Float[Array, "n tokens features"]:
    """Patches expressed in the native kernel's pixels: <native_patch, kernel> = <patch, PI-resized
    kernel>.

    Moving the resampling from the kernel to the patch leaves the embedding as it is and makes it
    linear in the stored kernel, which is what the tangent kernel's rule for this layer needs.
    """
    patches = cut_patches(images, grid)
    rows, columns = patches.shape[2:4]
    if (rows, columns) != (patch_size, patch_size):
        by_row = jnp.asarray(resample.kernel_matrix(patch_size, rows), patches.dtype)
        by_column = jnp.asarray(resample.kernel_matrix(patch_size, columns), patches.dtype)
        patches = jnp.einsum("ntrsc,rp,sq->ntpqc", patches, by_row, by_column)
    return patches.reshape(*patches.shape[:2], -1)


class PatchEmbed(nn.Module):
    """Linear embedding of patches; a token grid other than the native one resamples the kernel
    (PI-resize).

    Attributes:
        patch_size: side of the native patch in pixels.
        embed_dim: width of a token.
        dtype: of the computation; None takes the input's.
    """

    patch_size: int
    embed_dim: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self, images: Float[Array, "n height width channels"], grid: Grid
    ) -> Float[Array, "n tokens embed"]:
        """Embed images cut into `grid` (rows, columns) patches."""
        shape = (self.patch_size, self.patch_size, images.shape[-1], self.embed_dim)
        # PyTorch's default for convolutions, which DeiT and AutoFormer keep here: uniform with
        # variance 1 / (3 fan_in).
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=(0, 1, 2)),
            shape,
        )
        bias = self.param("bias", nn.initializers.zeros, (self.embed_dim,))
        images, kernel, bias = nn.dtypes.promote_dtype(images, kernel, bias, dtype=self.dtype)
        patches = cut_patches(images, grid)
        rows, columns = patches.shape[2:4]
        kernel = resample.resample_kernel(kernel, (rows, columns))
        # One axis of rows, see `layers.in_rows`.
        rows = patches.reshape(-1, kernel[..., 0].size)
        x = rows @ kernel.reshape(-1, self.embed_dim) + bias
        return x.reshape(*patches.shape[:2], -1)


class ClassToken(nn.Module):
    """Puts learned tokens ahead of the sequence.

    Attributes:
        count: how many: one to read, or one for each class.
    """

    count: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "n tokens embed"]) -> Float[Array, "n more embed"]:
        token = self.param(
            "token", nn.initializers.truncated_normal(0.02), (1, self.count, x.shape[-1])
        )
        token = jnp.broadcast_to(token.astype(x.dtype), (x.shape[0], self.count, x.shape[-1]))
        return jnp.concatenate([token, x], axis=1)


class PositionEmbed(nn.Module):
    """Adds a learned table of absolute positions, resampled where the grid is not the native one.

    Attributes:
        native_grid: the grid that the table is stored for.
        num_extra: tokens ahead of the grid that have a row of their own (the class token).
    """

    native_grid: Grid
    num_extra: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "n tokens embed"], grid: Grid
    ) -> Float[Array, "n tokens embed"]:
        rows = self.num_extra + self.native_grid[0] * self.native_grid[1]
        table = self.param("table", nn.initializers.truncated_normal(0.02), (rows, x.shape[-1]))
        return x + resample.resample_positions(table, self.native_grid, grid).astype(x.dtype)
