"""Relative positions against their textbook definition, and attention against its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from vintk_jax.models import attention
from vintk_jax.models.attention import Attention, RelativeKeys, RelativeValues

DIM = 4
CASES = [
    ((4, 4), 1, 3),
    ((4, 4), 0, 14),
    ((1, 3), 1, 14),
    ((2, 3), 0, 1),
    ((3, 1), 2, 1),
    ((2, 3), 1, 2),
    ((1, 1), 1, 2),
]


def textbook(tables, grid, extra, max_distance):
    """r(i, j) in R^dim of every pair of tokens, by loops: AutoFormer's code and Shaw et al. 2018,
    in two dimensions.
    """
    tokens = extra + grid[0] * grid[1]
    r = np.zeros((tokens, tokens, DIM))
    for i in range(tokens):
        for j in range(tokens):
            if i < extra or j < extra:
                r[i, j] = tables["vertical"][0] + tables["horizontal"][0]
                continue
            row_i, column_i = divmod(i - extra, grid[1])
            row_j, column_j = divmod(j - extra, grid[1])
            down = min(max(row_j - row_i, -max_distance), max_distance)
            right = min(max(column_j - column_i, -max_distance), max_distance)
            r[i, j] = (
                tables["vertical"][down + max_distance + 1]
                + tables["horizontal"][right + max_distance + 1]
            )
    return r


@pytest.mark.parametrize(("grid", "extra", "max_distance"), CASES)
def test_relative_keys_and_values_are_the_textbook_ones(grid, extra, max_distance, variables_for):
    """q_i . r(i, j) and sum_j a_ij r(i, j) by loops, on square and rectangular grids, with and
    without tokens outside them.
    """
    tokens = extra + grid[0] * grid[1]
    keys = RelativeKeys(max_distance, DIM)
    values = RelativeValues(max_distance, DIM)
    rng = np.random.default_rng(0)
    q = rng.standard_normal((2, 3, tokens, DIM)).astype(np.float32)
    a = rng.uniform(size=(2, 3, tokens, tokens)).astype(np.float32)
    where = np.asarray(attention.places(grid, extra))
    for module, x, formula in ((keys, q, "nhid,ijd->nhij"), (values, a, "nhij,ijd->nhid")):
        placed = jnp.asarray(x if module is keys else x @ where)
        variables = variables_for(module, placed, grid, size=1.0)
        tables = jax.tree.map(np.asarray, variables["params"])
        assert {k: v.shape for k, v in tables.items()} == dict.fromkeys(
            ("vertical", "horizontal"), (2 * max_distance + 2, DIM)
        )
        wanted = np.einsum(formula, x, textbook(tables, grid, extra, max_distance))
        got = np.asarray(jax.jit(module.apply, static_argnums=2)(variables, placed, grid))
        got = got @ where.T if module is keys else got
        np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("g", [1, 2, 3, 5])
def test_skews_select_by_distance_and_are_transposes(g):
    """y[i, s] = x[i, s - i + g - 1] by loops; <skew x, y> = <x, transpose y> for all x and y."""
    x = np.random.default_rng(0).standard_normal((2, g, 2 * g - 1)).astype(np.float32)
    y = np.random.default_rng(1).standard_normal((2, g, g)).astype(np.float32)
    pairs = np.asarray(jax.jit(attention.by_distance_to_pairs)(x))
    back = np.asarray(jax.jit(attention._pairs_to_by_distance)(y))
    assert back.shape == x.shape
    for i in range(g):
        for s in range(g):
            np.testing.assert_array_equal(pairs[:, i, s], x[:, i, s - i + g - 1])
    np.testing.assert_allclose(np.sum(pairs * y), np.sum(x * back), rtol=1e-5)


@pytest.mark.parametrize("max_distance", [0, 2])
def test_attention_is_softmax_attention(max_distance, variables_for):
    """The whole layer in NumPy from the definition, with heads whose width is not embed / heads;
    dead heads add nothing.
    """
    module = Attention(num_heads=3, head_dim=DIM, max_distance=max_distance)
    grid = (2, 3)
    heads = 3
    x = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((2, 7, 10))))
    variables = variables_for(module, x, grid)
    p = jax.tree.map(np.asarray, variables["params"])

    @jax.jit
    def run(variables, x, mask):
        return module.apply(variables, x, grid, None, mask)

    assert p["qkv"]["kernel"].shape == (10, 3 * heads * DIM)
    assert p["proj"]["kernel"].shape == (heads * DIM, 10)
    assert ("relative_keys" in p) == ("relative_values" in p) == (max_distance > 0)
    q, k, v = np.split(
        np.asarray(x, np.float64) @ p["qkv"]["kernel"] + p["qkv"]["bias"], 3, axis=-1
    )
    for head_mask in (None, np.array([1.0, 0.0, 1.0], np.float32)):
        outs = []
        for h in range(heads):
            one = slice(h * DIM, (h + 1) * DIM)
            rk = rv = np.zeros((7, 7, DIM))
            if max_distance:
                rk, rv = (
                    textbook(p[f"relative_{s}"], grid, 1, max_distance) for s in ("keys", "values")
                )
            logits = (
                np.einsum("nid,njd->nij", q[..., one], k[..., one])
                + np.einsum("nid,ijd->nij", q[..., one], rk)
            ) * DIM**-0.5
            weights = softmax(logits, axis=-1)
            out = np.einsum("nij,njd->nid", weights, v[..., one]) + np.einsum(
                "nij,ijd->nid", weights, rv
            )
            outs.append(out if head_mask is None else out * head_mask[h])
        wanted = np.concatenate(outs, -1) @ p["proj"]["kernel"] + p["proj"]["bias"]
        np.testing.assert_allclose(run(variables, x, head_mask), wanted, atol=1e-5)
