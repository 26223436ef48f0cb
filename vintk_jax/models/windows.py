"""Self-attention within windows of the token grid, which every second block shifts (Swin, Liu et
al. 2021, arXiv 2103.14030).

A grid that windows don't divide is filled up with zero tokens, at its lower and right border. As in
Swin they take part in the attention of their window, with the biases for key and value. All of them
are alike, so that one zero token goes through the linear layer for all.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from vintk_jax.models.attend import attended, products
from vintk_jax.models.attention import by_distance_to_pairs
from vintk_jax.models.layers import Dense, linear_init, masked
from vintk_jax.models.patch_embed import Grid

Switch = bool | Bool[Array, ""]


def by_pair(
    table: Float[Array, "*copies distances heads"], window: int
) -> Float[Array, "*copies heads tokens tokens"]:
    """From a bias per distance to one per pair of a window's tokens, by slices alone (a gather's
    transpose, a scatter, is slow on CPUs).

    Row (i - j + window - 1) (2 window - 1) + (k - l + window - 1) of the table is for the query at
    row i, column k and the key at j, l.
    """
    *copies, _, heads = table.shape
    side = 2 * window - 1
    # now by key minus query
    by_distance = jnp.moveaxis(table, -1, -2).reshape(*copies, heads, side, side)[..., ::-1, ::-1]
    # the vertical distance to a row of queries and one of keys, then the horizontal one
    for _ in range(2):
        by_distance = jnp.moveaxis(by_distance, len(copies) + 1, -1)[..., None, :]
        repeated = jnp.broadcast_to(by_distance, (*by_distance.shape[:-2], window, side))
        by_distance = by_distance_to_pairs(repeated)
    # the axes are rows of queries, rows of keys, columns of queries, columns of keys
    last = len(copies) + 1
    return by_distance.swapaxes(last + 1, last + 2).reshape(*copies, heads, window**2, window**2)


class RelativeBias(nn.Module):
    """Adds a learned number for each head and relative position within a window to the attention
    logits.

    Attributes:
        window: side of a window in tokens.
    """

    window: int

    @nn.compact
    def __call__(
        self, logits: Float[Array, "n windows heads tokens tokens"]
    ) -> Float[Array, "n windows heads tokens tokens"]:
        table = self.param("table", linear_init, ((2 * self.window - 1) ** 2, logits.shape[2]))
        return logits + by_pair(table, self.window).astype(logits.dtype)


def apart(grid: Grid, window: int, shift: int) -> Bool[np.ndarray, "windows tokens tokens"]:
    """Which pairs of a window's tokens are neighbours only because a grid that was rolled by
    `shift` joins its opposite borders.
    """
    regions = [np.searchsorted([g - window, g - shift], np.arange(g), side="right") for g in grid]
    of_token = (3 * regions[0][:, None] + regions[1]).reshape(
        grid[0] // window, window, grid[1] // window, window
    )
    of_token = of_token.swapaxes(1, 2).reshape(-1, window**2)
    return of_token[:, :, None] != of_token[:, None, :]


def _rolled(
    x: Float[Array, "n rows columns features"], by: int, shifted: Switch
) -> Float[Array, "n rows columns features"]:
    if by == 0 or shifted is False:
        return x
    rolled = jnp.roll(x, (by, by), axis=(1, 2))
    return rolled if shifted is True else jnp.where(shifted, rolled, x)


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows.

    Attributes:
        num_heads, head_dim: their product may differ from the embedding's width.
        windows: sides of a window to choose from by a mask; without one the last is taken. Equal
            ones share their relative positions.
        dtype: of the computation.
    """

    num_heads: int
    head_dim: int
    windows: tuple[int, ...]
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n tokens embed"],
        grid: Grid,
        embed_mask: Float[Array, " embed"] | None = None,
        head_mask: Float[Array, " heads"] | None = None,
        window_mask: Float[Array, " windows"] | None = None,
        shifted: Switch = False,
    ) -> Float[Array, "n tokens embed"]:
        """Attend.

        Args:
            grid: token rows and columns.
            window_mask: 1 for the window that is taken. Under `lax.map` on one device only that one
                is computed.
            shifted: whether windows are displaced by half their side, down and right; where one
                covers the grid they never are.
        """
        sides = sorted(set(self.windows))
        spare = int(any(g % side for g in grid for side in sides))
        qkv = Dense(
            3 * self.num_heads * self.head_dim,
            kernel_init=linear_init,
            dtype=self.dtype,
            name="qkv",
        )(jnp.pad(x, ((0, 0), (0, spare), (0, 0))))
        qkv = checkpoint_name(qkv, "qkv")

        def within(side):
            def branch(module, qkv):
                return module._within(side, qkv, grid, shifted)

            return branch

        branches = [within(side) for side in sides]
        if self.is_initializing():  # every window gets its parameters
            out = [branch(self, qkv) for branch in branches][sides.index(self.windows[-1])]
        elif len(sides) == 1 or window_mask is None:
            out = branches[sides.index(self.windows[-1])](self, qkv)
        else:
            place = jnp.asarray([sides.index(window) for window in self.windows])
            out = nn.switch(place[jnp.argmax(window_mask)], branches, self, qkv)
        if head_mask is not None:
            by_head = out.reshape(*out.shape[:2], self.num_heads, -1)
            out = (by_head * head_mask.astype(out.dtype)[:, None]).reshape(out.shape)
        return masked(
            Dense(x.shape[-1], kernel_init=linear_init, dtype=self.dtype, name="proj")(out),
            embed_mask,
        )

    def _within(
        self, side: int, qkv: Float[Array, "n places features"], grid: Grid, shifted: Switch
    ) -> Float[Array, "n tokens heads_by_dim"]:
        """Attention within windows of one side; a place beyond the grid's tokens is the one that
        fills the grid up.
        """
        n = qkv.shape[0]
        tokens = grid[0] * grid[1]
        full = tuple(-(-g // side) * side for g in grid)
        shift = side // 2 if side < min(grid) else 0
        x = qkv[:, :tokens].reshape(n, *grid, -1)
        if full != grid:
            spare = qkv[:, tokens:, None]
            right = jnp.broadcast_to(spare, (n, grid[0], full[1] - grid[1], x.shape[-1]))
            x = jnp.concatenate([x, right], axis=2)
            below = jnp.broadcast_to(spare, (n, full[0] - grid[0], full[1], x.shape[-1]))
            x = jnp.concatenate([x, below], axis=1)
        x = _rolled(x, -shift, shifted)
        layout = (n, full[0] // side, side, full[1] // side, side)
        x = x.reshape(*layout, 3, self.num_heads, self.head_dim).transpose(5, 0, 1, 3, 6, 2, 4, 7)
        q, k, v = x.reshape(3, n, -1, self.num_heads, side**2, self.head_dim)
        logits = RelativeBias(side, name=f"relative_bias_{side}")(
            products(q * self.head_dim**-0.5, k)
        )
        if shift and shifted is not False:
            separate = jnp.asarray(apart(full, side, shift))[:, None]
            logits = jnp.where(
                separate if shifted is True else separate & shifted, -jnp.inf, logits
            )
        out = attended(logits, v)
        out = out.reshape(
            n, full[0] // side, full[1] // side, self.num_heads, side, side, self.head_dim
        ).transpose(0, 1, 4, 2, 5, 3, 6)
        out = _rolled(out.reshape(n, *full, -1), shift, shifted)
        return out[:, : grid[0], : grid[1]].reshape(n, tokens, -1)
