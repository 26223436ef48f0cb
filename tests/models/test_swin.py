"""Window attention, patch merging and the whole model against definitions written out over pairs of
tokens.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm as gauss
from trees import float64, stacked

from vintk_jax.models.swin import PatchMerging, Swin, WindowBlock
from vintk_jax.models.windows import WindowAttention, by_pair

HEADS = 2
DIM = 4
EMBED = 6
# Grid, window, shifted: one that divides; shifted; filled up in both axes; filled up and shifted; a
# window that covers the grid, or a side of it.
CASES = [
    ((4, 6), 2, False),
    ((4, 6), 2, True),
    ((4, 5), 3, False),
    ((8, 7), 3, True),
    ((5, 6), 4, True),
    ((3, 3), 3, True),
    ((3, 7), 3, True),
]


def normal(*shape):
    """A random array."""
    return jnp.asarray(np.float32(np.random.default_rng(0).standard_normal(shape)))


def attend(params, x, grid, window, shifted, head_mask=(1, 1)):
    """Attention of one image by a loop over pairs of tokens, in float64.

    Places of the grid, filled up with zero tokens, belong to the window that they are in once the
    grid is rolled up and to the left by half a window; a pair of one window attends to each other
    unless rolling made it neighbours.
    """
    params = float64(params["params"])
    full = [-(-g // window) * window for g in grid]
    shift = window // 2 if shifted and window < min(grid) else 0
    filled = np.zeros((*full, x.shape[-1]))
    filled[: grid[0], : grid[1]] = np.asarray(x, np.float64).reshape(*grid, -1)
    q, k, v = np.moveaxis(
        (filled @ params["qkv"]["kernel"] + params["qkv"]["bias"]).reshape(*full, 3, HEADS, DIM),
        2,
        0,
    )
    table = params[f"relative_bias_{window}"]["table"]

    def window_of(place):
        return tuple((p - shift) % side // window for p, side in zip(place, full, strict=True))

    out = np.zeros((*grid, HEADS, DIM))
    for i in np.ndindex(*grid):
        near = [
            j
            for j in np.ndindex(*full)
            if window_of(i) == window_of(j) and max(abs(i[0] - j[0]), abs(i[1] - j[1])) < window
        ]
        row = [
            (i[0] - j[0] + window - 1) * (2 * window - 1) + i[1] - j[1] + window - 1 for j in near
        ]
        for head in range(HEADS):
            logits = [
                q[i][head] @ k[j][head] / DIM**0.5 + table[r, head]
                for j, r in zip(near, row, strict=True)
            ]
            out[i][head] = head_mask[head] * (
                softmax(logits) @ np.array([v[j][head] for j in near])
            )
    return out.reshape(-1, HEADS * DIM) @ params["proj"]["kernel"] + params["proj"]["bias"]


@pytest.mark.parametrize(("grid", "window", "shifted"), CASES)
def test_attention_is_the_definition(grid, window, shifted, variables_for, relative_error):
    """Shifts and filling up included; the shift known as the program is traced, or only as it
    runs.
    """
    x = normal(2, grid[0] * grid[1], EMBED)
    module = WindowAttention(HEADS, DIM, (window,))
    variables = variables_for(module, x, grid, size=1.0)
    wanted = [attend(variables, image, grid, window, shifted) for image in np.asarray(x)]

    @jax.jit
    def run(variables, x, flag):
        return [module.apply(variables, x, grid, shifted=s) for s in (shifted, flag)]

    for got in run(variables, x, jnp.asarray(shifted)):
        assert relative_error(got, wanted) < 1e-5


def test_a_mask_chooses_the_window(variables_for, relative_error):
    """Each of two windows, and a dead head; two options that are one window share it, and without a
    mask the last counts.
    """
    grid = (4, 5)
    x = normal(2, 20, EMBED)
    module = WindowAttention(HEADS, DIM, (3, 2, 2))
    variables = variables_for(module, x, grid, size=1.0)
    assert {name for name in variables["params"] if "bias" in name} == {
        "relative_bias_2",
        "relative_bias_3",
    }
    images = np.asarray(x)

    @jax.jit
    def run(v, x, of_window, heads):
        masked = module.apply(v, x, grid, None, heads, of_window, True)
        return masked, module.apply(v, x, grid)

    for chosen, mask in ((2, [0, 1, 0]), (2, [0, 0, 1]), (3, [1, 0, 0])):
        wanted = [
            attend(variables, image, grid, chosen, True, head_mask=(0, 1)) for image in images
        ]
        got, unmasked = run(variables, x, np.float32(mask), np.float32([0, 1]))
        assert relative_error(got, wanted) < 1e-5
    wanted = [attend(variables, image, grid, 2, False) for image in images]
    assert relative_error(unmasked, wanted) < 1e-5


@pytest.mark.parametrize("window", [1, 2, 3])
def test_biases_by_pair(window):
    """Swin's index of a pair of tokens into the table, by a loop; with tables of several samples
    too.
    """
    tables = (
        np.random.default_rng(0).standard_normal((2, (2 * window - 1) ** 2, 3)).astype(np.float32)
    )
    places = list(np.ndindex(window, window))
    index = [
        [(q[0] - k[0] + window - 1) * (2 * window - 1) + q[1] - k[1] + window - 1 for k in places]
        for q in places
    ]
    wanted = np.moveaxis(tables[:, index], -1, 1)
    run = jax.jit(by_pair, static_argnums=1)
    np.testing.assert_array_equal(run(tables, window), wanted)
    np.testing.assert_array_equal(run(tables[0], window), wanted[0])


def layer_norm(params, x):
    """Over the last axis, with epsilon 1e-5, in float64."""
    scale, bias = (np.asarray(params[name], np.float64) for name in ("scale", "bias"))
    variance = x.var(-1, keepdims=True)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-5) * scale + bias


def test_merging_is_swins(variables_for, relative_error):
    """Four tokens in Swin's order (both even; odd row; odd column; both odd), a norm of epsilon
    1e-5, a product.
    """
    x = normal(2, 24, 3)
    module = PatchMerging(5)
    variables = variables_for(module, x, (4, 6), size=1.0)
    on_grid = np.asarray(x, np.float64).reshape(2, 4, 6, 3)
    four = np.concatenate(
        [
            on_grid[:, 0::2, 0::2],
            on_grid[:, 1::2, 0::2],
            on_grid[:, 0::2, 1::2],
            on_grid[:, 1::2, 1::2],
        ],
        axis=-1,
    )
    normed = layer_norm(variables["params"]["norm"], four)
    kernel = np.asarray(variables["params"]["reduction"]["kernel"])
    wanted = (normed @ kernel).reshape(2, 6, 5)
    run = jax.jit(module.apply, static_argnums=2)
    assert relative_error(run(variables, x, (4, 6)), wanted) < 1e-6
    with pytest.raises(ValueError, match="3 x 6"):
        run(variables, np.asarray(x)[:, :18], (3, 6))


SMALL = {
    "embed_dims": (8, 12),
    "depths": (3, 1),
    "num_heads": (2, 1),
    "hidden": (10, 12),
    "windows": ((3,), (2,)),
    "head_dim": 4,
    "num_classes": 3,
}


def test_the_model_is_its_parts_in_turn(variables_for, relative_error):
    """Patches, a norm, blocks of which every second is shifted, merging, a norm, the mean, the
    head; the same scanned and recomputed.
    """
    images = normal(2, 32, 24, 3)
    model = Swin(**SMALL)
    variables = variables_for(model, images)
    p = variables["params"]

    def by_hand(p, images):
        kernel = p["patch_embed"]["kernel"]
        bias = p["patch_embed"]["bias"]
        x = (
            nn.Conv(8, (4, 4), (4, 4), padding="VALID")
            .apply({"params": {"kernel": kernel, "bias": bias}}, images)
            .reshape(2, 48, 8)
        )

        def norm(name, x):
            return nn.LayerNorm(epsilon=1e-5).apply({"params": p[name]}, x)

        x = norm("patch_norm", x)
        for i in range(3):
            block = WindowBlock(2, 4, 10, (3,))
            x = block.apply({"params": p["stage_0"][f"block_{i}"]}, x, (8, 6), shifted=i == 1)
        x = PatchMerging(12).apply({"params": p["merge_1"]}, x, (8, 6))
        x = WindowBlock(1, 4, 12, (2,)).apply({"params": p["stage_1"]["block_0"]}, x, (4, 3))
        return norm("norm", x).mean(axis=1) @ p["head"]["kernel"] + p["head"]["bias"]

    stages = {
        name: {"blocks": {"block": stacked(p[name].values())}} for name in ("stage_0", "stage_1")
    }
    scanned = {"params": {**p, **stages}}

    @jax.jit
    def run(p, variables, scanned):
        return [
            by_hand(p, images),
            model.apply(variables, images),
            Swin(**SMALL, remat=True).apply(variables, images),
            Swin(**SMALL, scan=True).apply(scanned, images),
        ]

    wanted, *got = run(p, variables, scanned)
    assert all(relative_error(logits, wanted) < 1e-5 for logits in got)


def test_a_block_is_two_residuals(variables_for, relative_error):
    """x + attention(norm(x)), then x + mlp(norm(x)), with the attention of the definition; a dead
    block passes its input on.
    """
    grid = (4, 6)
    x = normal(1, 24, EMBED)
    module = WindowBlock(HEADS, DIM, 5, (2,))
    variables = variables_for(module, x, grid, size=0.5)
    p = float64(variables["params"])
    normed = layer_norm(p["norm1"], np.asarray(x, np.float64))
    after = x + attend({"params": p["attention"]}, normed[0], grid, 2, True)
    fc1 = p["mlp"]["fc1"]
    fc2 = p["mlp"]["fc2"]
    hidden = layer_norm(p["norm2"], after) @ fc1["kernel"] + fc1["bias"]
    wanted = after + (hidden * gauss.cdf(hidden)) @ fc2["kernel"] + fc2["bias"]
    masks = {"alive": np.float32(1), "heads": np.ones(HEADS), "hidden": np.ones(5)}

    @jax.jit
    def run(v, x, masks):
        masked = module.apply(v, x, grid, None, masks, jnp.ones(1), True)
        return masked, module.apply(v, x, grid, shifted=True)

    masked, unmasked = run(variables, x, masks)
    assert relative_error(unmasked, wanted) < 1e-5
    assert relative_error(masked, wanted) < 1e-5
    np.testing.assert_array_equal(run(variables, x, {**masks, "alive": np.float32(0)})[0], x)
