"""Segmenters: their kernel by the Jacobian, the mask decoder by its formulas, images that patches
don't fill.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import ntk
from vintk_jax.models.decoders import MaskDecoder
from vintk_jax.models.segmenter import DECODERS, Segmenter
from vintk_jax.spaces.segmentation import SegmenterArch, SegmenterSpace

SPACE = SegmenterSpace(
    "mini-seg",
    (6, 8),
    (1, 2),
    (1, 2),
    (1.0,),
    stages=2,
    head_dim=3,
    patch_size=4,
    conv_width=4,
    mask_heads=2,
    mask_hidden=5,
    num_classes=3,
)
IMAGES = jax.random.normal(jax.random.key(0), (3, 6, 8, 3))


@pytest.mark.parametrize("decoder", DECODERS)
def test_kernel_is_the_jacobians(decoder, variables_for, jacobian_kernel, relative_error):
    """Of the masked, scanned supernet under two random directions over pixels and classes, by the
    definition.
    """
    model, masks = (
        SPACE.supernet(8, 3),
        jax.tree.map(
            jnp.asarray, SPACE.masks(SegmenterArch(6, (1, 2), (2, 1), (1.0, 1.0), decoder))
        ),
    )
    variables = variables_for(model, IMAGES, size=0.3)
    v = ntk.directions("random", (6, 8, 3), jax.random.key(1), 2)
    got = jax.jit(lambda p: ntk.kernel(model, p, IMAGES, cotangent=v, masks=masks))(variables)
    wanted = jacobian_kernel(lambda p, x: model.apply(p, x, masks=masks), variables, IMAGES, v)
    assert relative_error(got, wanted) < 1e-5


def segmenter(**fields):
    """A small one."""
    sizes = dict(
        embed_dim=6,
        depths=(1, 1),
        num_heads=(2, 2),
        hidden=(8, 8),
        head_dim=3,
        num_classes=3,
        patch_size=4,
        native_grid=(2, 2),
    )
    return Segmenter(**{**sizes, **fields})


def test_borders_that_patches_do_not_fill(variables_for, relative_error):
    """An image is seen as if zeros lay below and to the right of it; its own pixels' scores come
    back.
    """
    model = segmenter(decoders=("conv",))
    padded = jnp.pad(IMAGES, ((0, 0), (0, 2), (0, 0), (0, 0)))
    variables = variables_for(model, padded)
    got, wanted = model.apply(variables, IMAGES), model.apply(variables, padded)
    assert got.shape == (3, 6, 8, 3)
    assert relative_error(got, wanted[:, :6]) < 1e-6


def test_mask_decoder_by_its_formulas(variables_for, relative_error):
    """Without blocks: cosines between projected class tokens and patches, standardised over
    classes, then scaled and shifted.
    """
    decoder, rng = (
        MaskDecoder(num_classes=4, depth=0, num_heads=2, head_dim=3, hidden=5),
        np.random.default_rng(0),
    )
    x = jnp.asarray(rng.standard_normal((2, 6, 5)), jnp.float32)
    variables = variables_for(decoder, [x], (2, 3))
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])

    def norm(v, own):
        centred = v - v.mean(-1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * own["scale"]
            + own["bias"]
        )

    def unit(v):
        return v / np.linalg.norm(v, axis=-1, keepdims=True)

    patches = (
        norm(np.asarray(x, np.float64), p["norm"]) @ p["project"]["kernel"] + p["project"]["bias"]
    )
    patches = unit(norm(patches, p["norm_out"]) @ p["project_patches"]["kernel"])
    classes = unit(norm(p["classes"]["token"], p["norm_out"]) @ p["project_classes"]["kernel"])
    wanted = norm(patches @ classes[0].T, p["norm_scores"]).reshape(2, 2, 3, 4)
    assert relative_error(decoder.apply(variables, [x], (2, 3)), wanted) < 1e-5


def test_linear_decoder_interpolates_between_patch_centres(variables_for):
    """Scores of a patch stand at its centre; between two centres they lie on the line: pixel 3 of
    patches 4 wide is at 3.5, centres are 2 and 6.
    """
    model = segmenter(decoders=("linear",))
    variables = variables_for(model, IMAGES[:, :4])
    scores = np.asarray(model.apply(variables, IMAGES[:, :4]))[:, 0]
    # means of the pixels beside a centre
    centres = np.stack([scores[:, [1, 2]].mean(1), scores[:, [5, 6]].mean(1)], 1)
    np.testing.assert_allclose(
        scores[:, 3],
        centres[:, 0] + (3.5 - 2) / 4 * (centres[:, 1] - centres[:, 0]),
        atol=0.13 * np.abs(np.diff(centres, axis=1)).max(),
    )
    # beyond the first centre there is nothing to interpolate with
    np.testing.assert_allclose(scores[:, 0], scores[:, 1], atol=1e-6)


def test_stochastic_depth_reaches_every_stage(variables_for, relative_error):
    """With all residuals left out only the embedding is decoded, whatever the blocks hold."""
    model = segmenter()
    variables = variables_for(model, IMAGES)
    none = jnp.zeros((model.num_blocks, 2, 3))
    other = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf + 1 if "stage" in str(path) else leaf, variables
    )
    assert (
        relative_error(
            model.apply(variables, IMAGES, keep=none), model.apply(other, IMAGES, keep=none)
        )
        < 1e-6
    )
    one = none.at[1, 0].set(1.0)
    assert (
        relative_error(
            model.apply(variables, IMAGES, keep=one), model.apply(other, IMAGES, keep=one)
        )
        > 1e-3
    )
