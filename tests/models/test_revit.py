"""One set of weights at several token lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.models import resample
from vintk_jax.models.patch_embed import PatchEmbed, fit_to_grid
from vintk_jax.models.revit import fold
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
IMAGES = jax.random.normal(jax.random.key(0), (4, 32, 32, 3))


def test_a_resized_patch_under_a_resampled_kernel_embeds_alike(variables_for):
    """FlexiViT's property: images enlarged bilinearly, patch by patch, give the native embedding at
    the same grid.
    """
    module = PatchEmbed(8, 5)
    variables = variables_for(module, IMAGES, (4, 4))
    wanted = module.apply(variables, IMAGES, (4, 4))
    for side in (9, 12, 16):
        larger = resample.interpolation_matrix(8, side)
        patches = np.asarray(IMAGES).reshape(4, 4, 8, 4, 8, 3)
        resized = np.einsum("ar,bs,ngrhsc->ngahbc", larger, larger, patches).reshape(
            4, 4 * side, 4 * side, 3
        )
        np.testing.assert_allclose(
            module.apply(variables, jnp.asarray(resized, jnp.float32), (4, 4)), wanted, atol=2e-5
        )


@pytest.mark.parametrize("scan", [False, True])
def test_folded_models_give_the_same_logits(scan, variables_for):
    """At every length, also one that doesn't divide the image: an ordinary ViT with its own kernel,
    positions and norms.
    """
    model = ViT(**KIND, norm_grids=GRIDS, scan=scan)
    variables = variables_for(model, IMAGES)
    logits = []
    for grid in GRIDS:
        plain, folded = fold(model, variables, grid, 32)
        assert plain.norm_grids == ()
        got = plain.apply(folded, fit_to_grid(IMAGES, grid))
        logits.append(model.apply(variables, IMAGES, grid))
        np.testing.assert_allclose(got, logits[-1], atol=1e-5)
    assert np.abs(logits[0] - logits[1]).max() > 1e-2


def test_each_length_has_norms_of_its_own(variables_for):
    """Another length's scale changes nothing; its own does. Without separate norms there is one
    scale.
    """
    model = ViT(**KIND, norm_grids=GRIDS)
    variables = variables_for(model, IMAGES)

    def with_scale(which):
        def changed(path, leaf):
            return leaf.at[which].mul(2) if path[-1].key == "scale" else leaf

        return jax.tree_util.tree_map_with_path(changed, variables)

    before = model.apply(variables, IMAGES, (3, 3))
    np.testing.assert_array_equal(model.apply(with_scale(0), IMAGES, (3, 3)), before)
    assert np.abs(model.apply(with_scale(1), IMAGES, (3, 3)) - before).max() > 1e-2
    shapes = jax.eval_shape(ViT(**KIND).init, jax.random.key(0), IMAGES)
    assert shapes["params"]["norm"]["scale"].shape == (12,)


@pytest.mark.parametrize("scan", [False, True])
def test_stochastic_depth_multiplies_residuals(scan, variables_for):
    """All ones change nothing; zeros for a sample leave out every block for it, and for it
    alone.
    """
    model, empty = ViT(**KIND, scan=scan), ViT(**{**KIND, "num_heads": (), "hidden": ()})
    variables = variables_for(model, IMAGES)
    before = model.apply(variables, IMAGES)
    np.testing.assert_allclose(
        model.apply(variables, IMAGES, keep=jnp.ones((2, 2, 4))), before, atol=1e-6
    )
    without = model.apply(variables, IMAGES, keep=jnp.ones((2, 2, 4)).at[:, :, 1].set(0))
    stem = {"params": {k: v for k, v in variables["params"].items() if not k.startswith("block")}}
    np.testing.assert_allclose(without[1], empty.apply(stem, IMAGES)[1], atol=1e-6)
    np.testing.assert_allclose(np.delete(without, 1, 0), np.delete(before, 1, 0), atol=1e-6)


def test_images_are_resized_to_sides_that_the_grid_divides():
    """224 px at ten tokens become 220; sides that divide stay; a linear ramp stays one."""
    assert fit_to_grid(jnp.zeros((1, 224, 224, 3)), (10, 10)).shape == (1, 220, 220, 3)
    images = jnp.arange(32.0)[None, :, None, None] * jnp.ones((1, 32, 32, 1))
    assert fit_to_grid(images, (8, 4)) is images
    ramp = np.asarray(fit_to_grid(images, (6, 8)))[0, :, 0, 0]
    assert ramp.shape == (30,)
    np.testing.assert_allclose(np.diff(ramp)[1:-1], 32 / 30, rtol=1e-5)


def test_lengths_without_norms_and_finer_than_pixels_are_refused():
    """Both by name."""
    model = ViT(**KIND, norm_grids=GRIDS)
    with pytest.raises(ValueError, match=r"\(1, 1\) tokens"):
        jax.eval_shape(lambda key: model.init(key, IMAGES, (1, 1)), jax.random.key(0))
    with pytest.raises(ValueError, match=r"\(40, 40\) tokens"):
        fit_to_grid(IMAGES, (40, 40))
    with pytest.raises(ValueError, match=r"\(1, 1\) tokens"):
        fold(model, {}, (1, 1), 32)
