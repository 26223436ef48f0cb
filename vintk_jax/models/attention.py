"""Multi-head self-attention with optional two-dimensional relative positions on keys and values.

Relative positions are those of AutoFormer (Chen et al. 2021, arXiv 2107.00651; after Shaw et al.
2018): an embedding per vertical and one per horizontal distance, added up, shared by the heads of a
block; pairs with a token outside the grid (class token) have one of their own. The textbook form
multiplies each query by t x t embeddings. We multiply it by one per distance (2g - 1 on an axis of
g tokens) and shift the result to one number per row and one per column of keys. Which row and
column a key is in is a constant 0/1 matrix of `places`; put beside the keys, the same product that
forms the attention logits adds the relative ones, and put beside the values, it sums the attention
that each row and column receives. No array of t x t elements is made for positions.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.attend import attended, products
from vintk_jax.models.layers import Dense, linear_init, masked
from vintk_jax.models.regions import Regions

Grid = tuple[int, int]


def by_distance_to_pairs(x: Float[Array, "*batch g distances"]) -> Float[Array, "*batch g g"]:
    """y[i, s] = x[i, s - i + g - 1]: from one column per distance to one per key, by slices alone
    (no gather).
    """
    *batch, g, _ = x.shape
    if g == 1:
        return x
    flat = x.reshape(*batch, -1)[..., g - 1 : g - 1 + g * (2 * g - 2)]
    return flat.reshape(*batch, g, 2 * g - 2)[..., :g]


def _pairs_to_by_distance(y: Float[Array, "*batch g g"]) -> Float[Array, "*batch g distances"]:
    """The transpose of `by_distance_to_pairs`: x[i, s - i + g - 1] = y[i, s], zero elsewhere."""
    *batch, g, _ = y.shape
    if g == 1:
        return y
    none = [(0, 0)] * len(batch)
    flat = jnp.pad(y, [*none, (0, 0), (0, g - 2)]).reshape(*batch, g * (2 * g - 2))
    return jnp.pad(flat, [*none, (g - 1, 1)]).reshape(*batch, g, 2 * g - 1)


class _RelativeTables(nn.Module):
    """Vertical and horizontal tables; row 0 is for pairs outside the grid, row 1 + max_distance for
    distance zero.
    """

    max_distance: int
    head_dim: int

    def tables(self, grid: Grid) -> Float[Array, "columns dim"]:
        """One row per distance on this grid: vertical, horizontal, outside."""
        shape = (2 * self.max_distance + 2, self.head_dim)
        vertical = self.param("vertical", linear_init, shape)
        horizontal = self.param("horizontal", linear_init, shape)

        def rows(g):
            distances = np.clip(np.arange(1 - g, g), -self.max_distance, self.max_distance)
            return distances + self.max_distance + 1

        return jnp.concatenate(
            [vertical[rows(grid[0])], horizontal[rows(grid[1])], vertical[:1] + horizontal[:1]]
        )


def places(grid: Grid, extra: int) -> Float[np.ndarray, "tokens places"]:
    """Where each token is: one-hot row, one-hot column, then whether it is outside the grid, and
    whether it is on it.
    """
    rows, columns = grid
    on_grid = np.concatenate(
        [
            np.repeat(np.eye(rows), columns, axis=0),
            np.tile(np.eye(columns), (rows, 1)),
            np.tile([0.0, 1.0], (rows * columns, 1)),
        ],
        axis=1,
    )
    outside = np.zeros((extra, rows + columns + 2))
    outside[:, -2] = 1
    return np.concatenate([outside, on_grid]).astype(np.float32)


class RelativeKeys(_RelativeTables):
    """What relative positions add to the attention logits, q_i . r(i, j), as one number per place
    of a key (see `places`).
    """

    @nn.compact
    def __call__(
        self, q: Float[Array, "n heads tokens dim"], grid: Grid
    ) -> Float[Array, "n heads tokens places"]:
        table = self.tables(grid).astype(q.dtype)
        n, heads, tokens, _ = q.shape
        rows, columns = grid
        extra = tokens - rows * columns
        by_distance = jnp.einsum("nhtd,kd->nhtk", q, table)
        outside = by_distance[..., -1:]
        on_grid = by_distance[:, :, extra:, :-1].reshape(n, heads, rows, columns, -1)
        vertical = by_distance_to_pairs(on_grid[..., : 2 * rows - 1].swapaxes(2, 3)).swapaxes(2, 3)
        horizontal = by_distance_to_pairs(on_grid[..., 2 * rows - 1 :])
        by_axis = jnp.concatenate([vertical, horizontal], -1).reshape(
            n, heads, rows * columns, rows + columns
        )
        by_axis = jnp.pad(by_axis, [(0, 0), (0, 0), (extra, 0), (0, 0)])
        is_outside = (np.arange(tokens) < extra).astype(q.dtype)[:, None]
        return jnp.concatenate([by_axis, outside, outside * is_outside], axis=-1)


class RelativeValues(_RelativeTables):
    """What relative positions add to the attention's output, sum_j attention_ij r(i, j), from the
    attention per place of the keys.
    """

    @nn.compact
    def __call__(
        self, received: Float[Array, "n heads tokens places"], grid: Grid
    ) -> Float[Array, "n heads tokens dim"]:
        table = self.tables(grid).astype(received.dtype)
        n, heads, tokens, _ = received.shape
        rows, columns = grid
        extra = tokens - rows * columns
        on_grid = received[:, :, extra:].reshape(n, heads, rows, columns, -1)
        vertical = _pairs_to_by_distance(on_grid[..., :rows].swapaxes(2, 3)).swapaxes(2, 3)
        horizontal = _pairs_to_by_distance(on_grid[..., rows : rows + columns])
        by_distance = jnp.concatenate([vertical, horizontal], -1).reshape(
            n, heads, rows * columns, -1
        )
        by_distance = jnp.pad(by_distance, [(0, 0), (0, 0), (extra, 0), (0, 0)])
        is_outside = (np.arange(tokens) < extra).astype(received.dtype)[:, None]
        outside = received[..., -2:-1] + received[..., -1:] * is_outside
        return jnp.einsum("nhtk,kd->nhtd", jnp.concatenate([by_distance, outside], -1), table)


class Attention(nn.Module):
    """Multi-head self-attention.

    Attributes:
        num_heads, head_dim: their product may differ from the embedding's width (AutoFormer: 64 a
            head at every width).
        max_distance: clips relative positions; 0 does without them.
        dtype: of the computation.
    """

    num_heads: int
    head_dim: int
    max_distance: int = 0
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n tokens embed"],
        grid: Grid | Regions,
        embed_mask: Float[Array, " embed"] | None = None,
        head_mask: Float[Array, " heads"] | Float[Array, "heads dim"] | None = None,
    ) -> Float[Array, "n tokens embed"]:
        """Attend; `head_mask` switches heads off, or with a second axis dimensions of each head too
        (the live ones set the scale).

        Relative positions are for grids.
        """
        n, tokens, embed = x.shape
        qkv = Dense(
            3 * self.num_heads * self.head_dim,
            kernel_init=linear_init,
            dtype=self.dtype,
            name="qkv",
        )(x)
        qkv = checkpoint_name(qkv, "qkv")
        q, k, v = qkv.reshape(n, tokens, 3, self.num_heads, self.head_dim).transpose(2, 0, 3, 1, 4)
        if head_mask is None or head_mask.ndim == 1:
            q = q * self.head_dim**-0.5
        else:
            narrow = head_mask.astype(x.dtype)[:, None]
            live = jnp.maximum(jnp.max(jnp.sum(narrow, axis=-1)), 1)
            q = q * (narrow * live**-0.5)
            k = k * narrow
            v = v * narrow
        if self.max_distance:
            where = jnp.broadcast_to(
                places(grid, tokens - grid[0] * grid[1]).astype(k.dtype),
                (n, self.num_heads, tokens, sum(grid) + 2),
            )
            relative = RelativeKeys(self.max_distance, self.head_dim, name="relative_keys")(q, grid)
            q = jnp.concatenate([q, relative], axis=-1)
            k = jnp.concatenate([k, where], axis=-1)
            v = jnp.concatenate([v, where], axis=-1)
        context = attended(products(q, k), v)
        out = context
        if self.max_distance:
            out = context[..., : self.head_dim]
            received = context[..., self.head_dim :]
            out += RelativeValues(self.max_distance, self.head_dim, name="relative_values")(
                received, grid
            )
        if head_mask is not None:
            out *= head_mask.astype(out.dtype).reshape(self.num_heads, 1, -1)
        out = out.transpose(0, 2, 1, 3).reshape(n, tokens, self.num_heads * self.head_dim)
        return masked(
            Dense(embed, kernel_init=linear_init, dtype=self.dtype, name="proj")(out), embed_mask
        )
