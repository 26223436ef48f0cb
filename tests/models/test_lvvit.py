"""LV-ViT: published sizes, its stem, scaled residuals and patch classifier by their definitions,
and as a ReViT.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.models.conv_stem import ConvStem
from vintk_jax.models.folding import fitted, fold
from vintk_jax.models.vit import ViT

GRIDS = ((8, 8), (6, 6), (4, 4))
SIZES = {
    "embed_dim": 12,
    "num_heads": (2, 2),
    "hidden": (20, 20),
    "head_dim": 6,
    "num_classes": 3,
    "patch_size": 8,
    "native_grid": (4, 4),
}
LVVIT = {**SIZES, "stem_width": 4, "residual_scale": 0.5, "aux_head": True}
IMAGES = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((4, 32, 32, 3))))


@pytest.mark.parametrize(
    ("embed", "depth", "heads", "published"),
    [(240, 12, 4, 8.53), (384, 16, 6, 26.15), (512, 20, 8, 55.83)],
)
def test_published_parameters(embed, depth, heads, published):
    """LV-ViT-T, -S, -M, in millions (README of github.com/zihangJiang/TokenLabeling); theirs have
    no biases on queries, keys and values.
    """
    model = ViT(
        embed,
        (heads,) * depth,
        (3 * embed,) * depth,
        embed // heads,
        stem_width=64,
        residual_scale=0.5,
        aux_head=True,
        scan=True,
    )
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes)) - depth * 3 * embed
    assert round(count / 1e6, 2) == published


def test_stem_by_definition(variables_for):
    """Strided convolution, norm over channels, ReLU, in NumPy, one place at a time; half the sides,
    rounded up.
    """
    images = jnp.asarray(np.asarray(IMAGES)[:2, :9, :7])
    module = ConvStem(4)
    variables = jax.tree.map(np.asarray, variables_for(module, images))
    x = np.asarray(images, np.float64)
    for i, (side, stride) in enumerate(((7, 2), (3, 1), (3, 1))):
        kernel = np.asarray(variables["params"][f"conv_{i}"]["kernel"], np.float64)
        around = np.pad(x, ((0, 0), (side // 2,) * 2, (side // 2,) * 2, (0, 0)))
        rows, columns = (-(-extent // stride) for extent in x.shape[1:3])

        def place(r, c, around=around, kernel=kernel, side=side, stride=stride):
            return np.einsum(
                "nrsc,rscf->nf",
                around[:, r * stride : r * stride + side, c * stride : c * stride + side],
                kernel,
            )

        y = np.stack([np.stack([place(r, c) for c in range(columns)], 1) for r in range(rows)], 1)
        norm = variables["params"][f"norm_{i}"]
        y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6) * norm[
            "scale"
        ] + norm["bias"]
        x = np.maximum(y, 0)
    assert x.shape == (2, 5, 4, 4)
    np.testing.assert_allclose(jax.jit(module.apply)(variables, images), x, atol=1e-4)


@pytest.mark.parametrize("scan", [False, True])
def test_scaled_residuals_are_scaled_last_layers(scan, variables_for):
    """Halving what is added is halving the weights of the layers that add it; also beside
    stochastic depth.
    """
    model = ViT(**SIZES, residual_scale=0.5, scan=scan)
    plain = ViT(**SIZES, scan=scan)
    variables = variables_for(model, IMAGES)

    def halve_last(path, leaf):
        return np.asarray(leaf) / 2 if path[-2].key in ("proj", "fc2") else leaf

    halved = jax.tree_util.tree_map_with_path(halve_last, variables)
    drop_path_mask = np.random.default_rng(2).uniform(size=(2, 2, 4)).astype(np.float32)

    @jax.jit
    def run(variables, halved, drop_path_mask):
        return (
            model.apply(variables, IMAGES),
            plain.apply(halved, IMAGES),
            model.apply(variables, IMAGES, drop_path_mask=drop_path_mask),
            plain.apply(halved, IMAGES, drop_path_mask=drop_path_mask),
            plain.apply(variables, IMAGES),
        )

    got, wanted, got_kept, wanted_kept, unscaled = map(
        np.asarray, run(variables, halved, drop_path_mask)
    )
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    np.testing.assert_allclose(got_kept, wanted_kept, atol=1e-5)
    assert np.abs(got - unscaled).max() > 1e-2


def test_patches_count_half(variables_for):
    """Logits are the head's and half of the largest of each class over the patches; the patch
    classifier reads what the head reads.
    """
    model = ViT(**LVVIT)
    variables = variables_for(model, IMAGES)
    same = {"params": {**variables["params"], "head": variables["params"]["aux_head"]}}

    @jax.jit
    def run(variables, same):
        return (
            model.apply(variables, IMAGES),
            *model.apply(variables, IMAGES, dense=True),
            *ViT(**{**LVVIT, "pool": "mean"}).apply(same, IMAGES, dense=True),
        )

    both, logits, of_patches, mean, of_patches_too = map(np.asarray, run(variables, same))
    assert of_patches.shape == (4, 16, 3)
    np.testing.assert_allclose(both, logits + of_patches.max(axis=1) / 2, atol=1e-6)
    np.testing.assert_allclose(of_patches_too, of_patches, atol=1e-6)
    np.testing.assert_allclose(mean, of_patches.mean(axis=1), atol=1e-5)


def test_without_a_patch_classifier_the_head_classifies_them(variables_for):
    """A model that averages its patches: the logits are the average of the patches'."""
    model = ViT(**SIZES, pool="mean")
    variables = variables_for(model, IMAGES)
    run = jax.jit(partial(model.apply, images=IMAGES, grid=(2, 2), dense=True))
    logits, of_patches = run(variables)
    assert of_patches.shape == (4, 4, 3)
    np.testing.assert_allclose(logits, np.asarray(of_patches).mean(axis=1), atol=1e-5)


def test_folded_models_give_the_same_logits(variables_for):
    """At every length, also one that doesn't divide the stem's features; lengths differ."""
    model = ViT(**LVVIT, norm_grids=GRIDS)

    @jax.jit
    def run(variables, images):
        pairs = []
        for grid in GRIDS:
            plain, folded = fold(model, variables, grid, 32)
            logits = plain.apply(folded, fitted(images, grid, stem=True))
            pairs.append((logits, model.apply(variables, images, grid)))
        return pairs

    pairs = run(variables_for(model, IMAGES, (8, 8)), IMAGES)
    for got, wanted in pairs:
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert np.abs(np.asarray(pairs[0][1]) - pairs[1][1]).max() > 1e-2
