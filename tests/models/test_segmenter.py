"""Segmenters: their kernel by the Jacobian, the mask decoder by its formulas, images that patches
don't fill.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from trees import float64, stacked

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
IMAGES = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((3, 6, 8, 3))))


def test_kernel_is_the_jacobians(variables_for, jacobian, jacobian_kernel, relative_error):
    """Of the masked, scanned supernet with each decoder, under two random directions over pixels
    and classes, by the definition.

    The Jacobian of all decoders is one: of what each answers, along both directions.
    """
    model = SPACE.supernet(8, 3)
    masks = [
        SPACE.masks(SegmenterArch(6, (1, 2), (2, 1), (1.0, 1.0), decoder)) for decoder in DECODERS
    ]
    variables = variables_for(model, IMAGES, size=0.3)
    v = jnp.asarray(np.float32(np.random.default_rng(1).standard_normal((6, 8, 3, 2)) / 12))

    def along(params, x):
        def of_one(mask):
            return jnp.einsum(
                "nrck,rckv->nv", model.apply(params, x, masks=mask), jnp.asarray(v, x.dtype)
            )

        return jax.vmap(of_one, out_axes=1)(stacked(masks))

    full = jacobian(along, variables, IMAGES)
    run = jax.jit(partial(ntk.kernel, model, cotangent=v))
    for i, mask in enumerate(masks):
        wanted = jacobian_kernel(full, None, None, np.eye(2 * len(masks))[:, 2 * i : 2 * i + 2])
        assert relative_error(run(variables, IMAGES, masks=mask), wanted) < 1e-5


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
    padded = jnp.asarray(np.pad(IMAGES, ((0, 0), (0, 2), (0, 0), (0, 0))))
    variables = variables_for(model, padded)
    run = jax.jit(model.apply)
    got = run(variables, IMAGES)
    wanted = np.asarray(run(variables, padded))
    assert got.shape == (3, 6, 8, 3)
    assert relative_error(got, wanted[:, :6]) < 1e-6


def test_mask_decoder_by_its_formulas(variables_for, relative_error):
    """Without blocks: cosines between projected class tokens and patches, standardised over
    classes, then scaled and shifted.
    """
    decoder = MaskDecoder(num_classes=4, depth=0, num_heads=2, head_dim=3, hidden=5)
    rng = np.random.default_rng(0)
    x = jnp.asarray(np.float32(rng.standard_normal((2, 6, 5))))
    variables = variables_for(decoder, [x], (2, 3))
    p = float64(variables["params"])

    def norm(v, params):
        centred = v - v.mean(-1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * params["scale"]
            + params["bias"]
        )

    def unit(v):
        return v / np.linalg.norm(v, axis=-1, keepdims=True)

    patches = (
        norm(np.asarray(x, np.float64), p["norm"]) @ p["project"]["kernel"] + p["project"]["bias"]
    )
    patches = unit(norm(patches, p["norm_out"]) @ p["project_patches"]["kernel"])
    classes = unit(norm(p["classes"]["token"], p["norm_out"]) @ p["project_classes"]["kernel"])
    wanted = norm(patches @ classes[0].T, p["norm_scores"]).reshape(2, 2, 3, 4)
    run = jax.jit(decoder.apply, static_argnums=2)
    assert relative_error(run(variables, [x], (2, 3)), wanted) < 1e-5


def test_linear_decoder_interpolates_between_patch_centres(variables_for):
    """Scores of a patch stand at its centre; between two centres they lie on the line: pixel 3 of
    patches 4 wide is at 3.5, centres are 2 and 6.
    """
    model = segmenter(decoders=("linear",))
    images = jnp.asarray(np.asarray(IMAGES)[:, :4])
    variables = variables_for(model, images)
    scores = np.asarray(jax.jit(model.apply)(variables, images))[:, 0]
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
    none = np.zeros((model.num_blocks, 2, 3), np.float32)

    def change_stages(path, leaf):
        return np.asarray(leaf) + 1 if "stage" in str(path) else leaf

    other = jax.tree_util.tree_map_with_path(change_stages, variables)

    @jax.jit
    def run(variables, drop_path_mask):
        return model.apply(variables, IMAGES, drop_path_mask=drop_path_mask)

    assert relative_error(run(variables, none), run(other, none)) < 1e-6
    one = none.copy()
    one[1, 0] = 1.0
    assert relative_error(run(variables, one), run(other, one)) > 1e-3
