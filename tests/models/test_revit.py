"""One set of weights at several token lengths."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.models import resample
from vintk_jax.models.folding import fold
from vintk_jax.models.patch_embed import PatchEmbed, fit_to_grid
from vintk_jax.models.vit import ViT

GRIDS = ((4, 4), (3, 3), (2, 2))
KIND = {
    "embed_dim": 12,
    "num_heads": (2, 2),
    "hidden": (20, 20),
    "head_dim": 6,
    "num_classes": 3,
    "patch_size": 8,
    "native_grid": (4, 4),
}
IMAGES = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((4, 32, 32, 3))))


def test_a_resized_patch_under_a_resampled_kernel_embeds_alike(variables_for):
    """FlexiViT's property: images enlarged bilinearly, patch by patch, give the native embedding at
    the same grid.
    """
    module = PatchEmbed(8, 5)
    variables = variables_for(module, IMAGES, (4, 4))
    run = jax.jit(partial(module.apply, variables, grid=(4, 4)))
    wanted = run(IMAGES)
    for side in (9, 12, 16):
        larger = resample.interpolation_matrix(8, side)
        patches = np.asarray(IMAGES).reshape(4, 4, 8, 4, 8, 3)
        resized = np.einsum("ar,bs,ngrhsc->ngahbc", larger, larger, patches).reshape(
            4, 4 * side, 4 * side, 3
        )
        np.testing.assert_allclose(run(resized.astype(np.float32)), wanted, atol=2e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_folded_models_give_the_same_logits(scan, variables_for):
    """At every length, also one that doesn't divide the image: an ordinary ViT with its own kernel,
    positions and norms.
    """
    model = ViT(**KIND, norm_grids=GRIDS, scan=scan)

    @jax.jit
    def run(variables, images):
        pairs = []
        for grid in GRIDS:
            plain, folded = fold(model, variables, grid, 32)
            assert plain.norm_grids == ()
            logits = plain.apply(folded, fit_to_grid(images, grid))
            pairs.append((logits, model.apply(variables, images, grid)))
        return pairs

    pairs = run(variables_for(model, IMAGES), IMAGES)
    for got, wanted in pairs:
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert np.abs(np.asarray(pairs[0][1]) - pairs[1][1]).max() > 1e-2


def test_each_length_has_norms_of_its_own(variables_for):
    """Another length's scale changes nothing; its own does. Without separate norms there is one
    scale.
    """
    model = ViT(**KIND, norm_grids=GRIDS)
    variables = variables_for(model, IMAGES)

    def with_scale(which):
        def changed(path, leaf):
            leaf = np.array(leaf)
            if path[-1].key == "scale":
                leaf[which] *= 2
            return leaf

        return jax.tree_util.tree_map_with_path(changed, variables)

    run = jax.jit(partial(model.apply, images=IMAGES, grid=(3, 3)))
    before = np.asarray(run(variables))
    np.testing.assert_array_equal(run(with_scale(0)), before)
    assert np.abs(run(with_scale(1)) - before).max() > 1e-2
    shapes = jax.eval_shape(ViT(**KIND).init, jax.random.key(0), IMAGES)
    assert shapes["params"]["norm"]["scale"].shape == (12,)


@pytest.mark.parametrize("scan", [False, True])
def test_stochastic_depth_multiplies_residuals(scan, variables_for):
    """All ones change nothing; zeros for a sample leave out every block for it, and for it
    alone.
    """
    model = ViT(**KIND, scan=scan)
    empty = ViT(**{**KIND, "num_heads": (), "hidden": ()})
    variables = variables_for(model, IMAGES)
    stem = {"params": {k: v for k, v in variables["params"].items() if not k.startswith("block")}}
    drop_path_mask = np.ones((2, 2, 4), np.float32)
    dropped = drop_path_mask.copy()
    dropped[:, :, 1] = 0

    @jax.jit
    def run(variables, stem, drop_path_mask):
        return (
            model.apply(variables, IMAGES),
            model.apply(variables, IMAGES, drop_path_mask=drop_path_mask),
            empty.apply(stem, IMAGES),
        )

    before, kept, of_stem = map(np.asarray, run(variables, stem, drop_path_mask))
    without = np.asarray(run(variables, stem, dropped)[1])
    np.testing.assert_allclose(kept, before, atol=1e-6)
    np.testing.assert_allclose(without[1], of_stem[1], atol=1e-6)
    np.testing.assert_allclose(np.delete(without, 1, 0), np.delete(before, 1, 0), atol=1e-6)


def test_images_are_resized_to_sides_that_the_grid_divides():
    """224 px at ten tokens become 220; sides that divide stay; a linear ramp stays one."""
    run = jax.jit(fit_to_grid, static_argnums=1)
    large = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    fitted_large = jax.eval_shape(partial(fit_to_grid, grid=(10, 10)), large)
    assert fitted_large.shape == (1, 220, 220, 3)
    images = np.arange(32.0)[None, :, None, None] * np.ones((1, 32, 32, 1))
    images = jnp.asarray(np.float32(images))
    assert fit_to_grid(images, (8, 4)) is images
    ramp = np.asarray(run(images, (6, 8)))[0, :, 0, 0]
    assert ramp.shape == (30,)
    np.testing.assert_allclose(np.diff(ramp)[1:-1], 32 / 30, rtol=1e-5)


def test_lengths_without_norms_and_finer_than_pixels_are_refused():
    """Both by name."""
    model = ViT(**KIND, norm_grids=GRIDS)
    with pytest.raises(ValueError, match=r"norms for.*got \(1, 1\)"):
        jax.eval_shape(partial(model.init, images=IMAGES, grid=(1, 1)), jax.random.key(0))
    with pytest.raises(ValueError, match=r"\(40, 40\) tokens"):
        fit_to_grid(IMAGES, (40, 40))
    with pytest.raises(ValueError, match=r"norms for.*got \(1, 1\)"):
        fold(model, {}, (1, 1), 32)
