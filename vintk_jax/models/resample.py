"""Linear resampling of patch kernels and position tables between token grids.

A patch embedding is an inner product <patch, kernel>. When the patch is resized by a linear map B
(bilinear), the inner product is kept by resampling the kernel with the pseudo-inverse of B's
transpose, not with B itself: FlexiViT's "PI-resize" (Beyer et al. 2023, arXiv 2212.08013, section
3.4). B is separable, so each axis has a small matrix of its own.
"""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def _bilinear_1d(old: int, new: int) -> np.ndarray:
    """Half-pixel bilinear interpolation without antialiasing as a (new, old) matrix in float64."""
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.floor(centres).astype(int)
    high = np.minimum(low + 1, old - 1)
    weight = centres - low
    matrix = np.zeros((new, old))
    np.add.at(matrix, (np.arange(new), low), 1 - weight)
    np.add.at(matrix, (np.arange(new), high), weight)
    return matrix


@lru_cache
def interpolation_matrix(old: int, new: int) -> np.ndarray:
    """The (new, old) matrix that resizes a signal of `old` samples to `new` samples bilinearly."""
    return np.eye(old) if old == new else _bilinear_1d(old, new)


@lru_cache
def shrinking_matrix(old: int, new: int) -> np.ndarray:
    """The (new, old) matrix that averages what each new sample covers, by a triangle as wide as two
    of them: `jax.image.resize`'s "linear".

    As a matrix it needs no batch size, which an exported program leaves open.
    """
    scale = max(old / new, 1.0)
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    weights = np.maximum(1 - np.abs(np.arange(old) - centres[:, None]) / scale, 0)
    return weights / weights.sum(axis=1, keepdims=True)


@lru_cache
def kernel_matrix(old: int, new: int) -> np.ndarray:
    """The (new, old) matrix R of PI-resize along one axis: R = (B^T)^+, so <B x, R w> = <x, w> for
    new >= old.

    For new < old no map can keep every inner product; the pseudo-inverse then gives the
    least-squares best for inputs with identity covariance (FlexiViT, equation 2).
    """
    return np.eye(old) if old == new else np.linalg.pinv(interpolation_matrix(old, new).T)


def resample_kernel(
    kernel: Float[Array, "rows columns channels dim"], sides: tuple[int, int]
) -> Float[Array, "r s channels dim"]:
    """A patch kernel for patches of other sides, in pixels (PI-resize)."""
    rows, columns = kernel.shape[:2]
    if (rows, columns) == sides:
        return kernel
    by_row, by_column = (
        jnp.asarray(kernel_matrix(old, new), kernel.dtype)
        for old, new in zip((rows, columns), sides, strict=True)
    )
    return jnp.einsum("rp,sq,pqce->rsce", by_row, by_column, kernel)


def resample_positions(
    table: Float[Array, "tokens dim"], old: tuple[int, int], new: tuple[int, int]
) -> Float[Array, "new_tokens dim"]:
    """Resize the grid part of a position table bilinearly; rows ahead of the grid (class token) are
    kept.

    Args:
        table: rows for the tokens ahead of the grid, then old[0] * old[1] rows in raster order.
        old, new: grid heights and widths in tokens.
    """
    if old == new:
        return table
    extra = table.shape[0] - old[0] * old[1]
    rows = jnp.asarray(interpolation_matrix(old[0], new[0]), table.dtype)
    columns = jnp.asarray(interpolation_matrix(old[1], new[1]), table.dtype)
    grid = table[extra:].reshape(*old, -1)
    grid = jnp.einsum("ah,bw,hwe->abe", rows, columns, grid)
    return jnp.concatenate([table[:extra], grid.reshape(new[0] * new[1], -1)])
