"""The space of small vision transformers: one supernet for every patch size, stem and pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import ntk, spaces
from vintk_jax.spaces import conformance, supernet_conformance
from vintk_jax.spaces.cifar_vit import CifarVitArch, CifarVitSpace

SPACE = spaces.get("cifar-vit")
MINI = CifarVitSpace(
    "mini-cifar",
    patch_size=(2, 4),
    stem_width=(0, 4),
    head_dim=(2, 3),
    num_heads=(1, 2),
    embed_dim=(6, 8),
    depth=(1, 2),
    mlp_ratio=(1.0, 1.5),
)
# Between them they have every patch size, stem, pooling and scale, and switch off a column, a head,
# dimensions of a head, hidden units and a block.
MEMBERS = [
    CifarVitArch(4, 4, "mean", 0.5, 2, 1, (6, 8), (1, 2), (1.5, 1.0, 1.5)),
    CifarVitArch(2, 0, "token", 1.0, 3, 2, (8, 6), (2, 1), (1.0, 1.5, 1.0)),
]


def test_masked_supernet_is_the_small_model():
    """Logits and kernel, in float64."""
    conformance.masks(MINI, MEMBERS)
    supernet_conformance.supernet(MINI, MEMBERS, 8)


@pytest.mark.slow
def test_unrolled_supernet_is_the_small_model():
    """Without a scan."""
    supernet_conformance.supernet(MINI, MEMBERS, 8, scan=False)


@pytest.mark.slow
def test_kernel_is_the_jacobians():
    """The structured kernel of the masked supernet is the full Jacobian's."""
    supernet_conformance.kernel(MINI, MEMBERS[:1], 8)


def test_shares_of_layers():
    """Of a masked supernet they add up to its kernel; what another architecture would use has
    none.
    """
    model = MINI.supernet(8, 3)
    images = jnp.asarray(np.random.default_rng(0).standard_normal((3, 8, 8, 3)), jnp.float32)
    params = conformance.draw(model, images, size=0.1)

    @jax.jit
    def run(masks):
        options = {"masks": masks, "cotangent": "sum"}
        whole = ntk.kernel(model, params, images, **options)
        return whole, ntk.by_layer(model, params, images, **options)

    whole, layers = run(MINI.masks(MEMBERS[0]))
    added = sum(share.reshape(-1, 3, 3).sum(0) for share in layers.values())
    np.testing.assert_allclose(added, whole, rtol=1e-5, atol=1e-5 * np.abs(whole).max())
    for path in ("from_pixels_2", "from_pixels_4", "from_stem_2", "positions_2"):
        assert not np.any(layers[path]), path
    qkv = layers["stage_0/blocks/block/attention/qkv"]
    assert np.any(qkv[0])
    assert not np.any(qkv[1])  # this member has one block in its first stage


def test_architectures_outside_the_space():
    """The field at fault is named."""
    fields = SPACE.to_json(SPACE.sample(np.random.default_rng(0)))
    for change, words in (
        ({"patch_size": 16}, "patch_size=16"),
        ({"depth": [1, 5]}, "got depth=5 in place 1"),
        ({"mlp_ratio": [1.0]}, "entries of mlp_ratio, got 1"),
    ):
        with pytest.raises(spaces.InvalidArchitecture, match=words):
            SPACE.from_json({**fields, **change})


def test_images_of_another_size():
    """A model is for one size."""
    model = MINI.model(MEMBERS[0], 8)
    with pytest.raises(ValueError, match="8 x 8 pixels, got 16 x 16"):
        jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 16, 16, 3), np.float32))
