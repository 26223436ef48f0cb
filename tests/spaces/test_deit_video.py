"""The spaces of video transformers: published counts, and what a stem is; `test_every_space` has
what holds for all.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vintk_jax import ntk, spaces
from vintk_jax.spaces.autoformer import AutoFormer
from vintk_jax.spaces.deit_video import DeitVideoSpace

MINI = DeitVideoSpace(
    "mini-clips", (8, 12), (1, 2), (1, 2), (1.0, 1.5), head_dim=4, frames=3, resolution=32
)
CLIPS = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((3, 3, 32, 32, 3))))
MEMBER = AutoFormer(8, 2, (2, 1), (1.0, 1.5))


def test_published_counts():
    """TimeSformer with divided attention and ViT-B's sizes, 8 frames of 224 px: 121.4 M parameters
    with Something-Something V2's 174 classes, and 0.59 TFLOPs for three views of a video (Bertasius
    et al. 2021, tables 1 and 2)."""
    base = DeitVideoSpace("base", (768,), (12,), (12,), (4.0,))
    cost = base.cost(base.example(), num_classes=174)
    assert round(cost.params / 1e6, 1) == 121.4
    assert round(3 * cost.flops / 1e12, 2) == 0.59


def test_kernel_is_the_jacobians(variables_for, jacobian_kernel, relative_error):
    """The structured kernel of the masked, scanned supernet, in float32, by the definition of the
    member's own model.
    """
    model = MINI.supernet(32, 3)
    alone = MINI.model(MEMBER, 32, num_classes=3)
    variables = jax.device_get(variables_for(model, CLIPS, size=0.1))
    v = np.random.default_rng(1).standard_normal((3, 1)).astype(np.float32)
    run = jax.jit(partial(ntk.kernel, model))
    got = run(variables, CLIPS, cotangent=v, masks=MINI.masks(MEMBER))
    cut = MINI.subnet(variables, MEMBER)
    assert relative_error(got, jacobian_kernel(alone.apply, cut, CLIPS, v)) < 1e-5


def test_a_stem_reads_only_the_class_token(variables_for):
    """Without blocks the class token has seen no clip: all clips get the same answer, and the score
    `vintk` counts from there.
    """
    model = MINI.supernet(32, 3)
    run = jax.jit(model.apply)
    logits = np.asarray(run(variables_for(model, CLIPS), CLIPS, masks=MINI.stem_masks(MEMBER)))
    np.testing.assert_allclose(logits - logits[:1], 0, atol=1e-6)
    assert np.std(logits[0]) > 1e-3


def test_shapes_of_inputs():
    """Of a clip with its frames, of an image without; at the pixels asked for, or those that costs
    are stated for.
    """
    assert spaces.get("deit-video").input_shape() == (8, 224, 224, 3)
    assert spaces.get("deit-video-mini").input_shape(64) == (8, 64, 64, 3)
    assert spaces.get("autoformer-tiny").input_shape() == (224, 224, 3)
    assert spaces.get("seg-mini").input_shape() == (180, 240, 3)
