"""The S3 space and model: published sizes, windows that are cut, what a stem is, bad
architectures.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_space import S3 as MINI
from trees import stacked

from vintk_jax import ntk, spaces
from vintk_jax.multiply_adds import multiply_adds
from vintk_jax.spaces.s3 import S3Arch

S3 = spaces.get("s3")
TINY = S3Arch((96, 192, 384, 768), (2, 2, 6, 2), (3, 6, 12, 24), (4.0,) * 4, (7, 7, 14, 7))
GOOD = S3.to_json(TINY)
IMAGES = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((3, 32, 32, 3))))
MEMBER = S3Arch((8, 12, 16, 12), (2, 1, 2, 1), (1, 1, 1, 2), (1.0, 1.0, 1.0, 1.0), (3, 2, 2, 2))


def test_published_sizes():
    """AutoFormerV2-T (28 M, its README; S3-T.yaml) is a member; Swin-T, whose windows all are 7,
    has timm's 28,288,354 parameters and 4.5 G.
    """
    assert S3.from_json(GOOD) == TINY
    assert round(S3.cost(TINY).params / 1e6) == 28
    swin = dataclasses.replace(TINY, window_size=(7,) * 4)
    assert S3.cost(S3.from_json(S3.to_json(swin))).params == 28_288_354
    assert round(S3.cost(swin).flops / 1e9, 1) == 4.5


def test_published_sizes_beyond_the_space():
    """AutoFormerV2-S and -B have 50 M and 71 M parameters (README): stages of 18 and 30 blocks,
    which the formula and the model know as well.
    """
    for depth, windows, published in ((18, (14, 14, 14, 14), 50), (30, (7, 7, 14, 7), 71)):
        arch = dataclasses.replace(TINY, depth=(2, 2, depth, 2), window_size=windows)
        assert round(S3.cost(arch).params / 1e6) == published


@pytest.mark.parametrize("size", [32, 96, 128])
def test_cost_at_sizes_that_windows_do_not_divide(size):
    """Grids of 8, 24 and 32 tokens filled up to windows of 7 and 14; stages of a single token."""
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    arch = S3.sample(np.random.default_rng(size))
    model = S3.model(arch, size, num_classes=10)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    cost = S3.cost(arch, size, 10)
    assert cost.params == sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(variables))
    assert cost.flops == multiply_adds(model.apply, variables, image)


def test_kernel_is_the_jacobians(variables_for, jacobian_kernel, relative_error):
    """The structured kernel of the masked, scanned supernet, in float32, by the definition of the
    member's own model; a shifted window that is filled up is in it.
    """
    model = MINI.supernet(32, 3)
    alone = MINI.model(MEMBER, 32, num_classes=3)
    variables = jax.device_get(variables_for(model, IMAGES, size=0.1))
    v = np.random.default_rng(1).standard_normal((3, 1)).astype(np.float32)
    run = jax.jit(partial(ntk.kernel, model))
    got = run(variables, IMAGES, cotangent=v, masks=MINI.masks(MEMBER))
    cut = MINI.subnet(variables, MEMBER)
    assert relative_error(got, jacobian_kernel(alone.apply, cut, IMAGES, v)) < 1e-5


@pytest.fixture(scope="module")
def wide(variables_for):
    """The mini supernet's variables, and a compiled function (masks stacked) -> logits by
    candidates vmapped, and mapped one by one.
    """
    model = MINI.supernet(32, 3)
    variables = jax.device_get(variables_for(model, IMAGES, size=0.1))

    @jax.jit
    def both(variables, masks):
        def one(masks):
            return model.apply(variables, IMAGES, masks=masks)

        return jax.vmap(one)(masks), jax.lax.map(one, masks)

    def run(*masks):
        return both(variables, stacked(masks))

    return variables, run


def test_candidates_under_vmap_and_map(wide, relative_error):
    """Two windows in one call, by one switch, are the two small models'."""
    variables, run = wide
    archs = [MEMBER, dataclasses.replace(MEMBER, window_size=(2, 2, 2, 2))]
    small = [
        jax.jit(MINI.model(arch, 32, num_classes=3).apply)(MINI.subnet(variables, arch), IMAGES)
        for arch in archs
    ]
    for got in run(*map(MINI.masks, archs)):
        assert all(
            relative_error(logits, wanted) < 1e-5 for logits, wanted in zip(got, small, strict=True)
        )
    assert relative_error(*small) > 1e-4


def test_a_stem_is_the_model_without_blocks(wide, relative_error):
    """Patches, norms, mergings and the head: the model of depths zero; its masks know no window, so
    architectures of one width share it.
    """
    variables, run = wide
    masks = MINI.stem_masks(MEMBER)
    other = MINI.stem_masks(
        dataclasses.replace(
            MEMBER, depth=(1, 1, 2, 1), num_heads=(2, 1, 1, 2), window_size=(2, 2, 2, 2)
        )
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, masks, other))
    bare = dataclasses.replace(MINI.model(MEMBER, 32, num_classes=3), depths=(0, 0, 0, 0))
    cut = MINI.subnet(variables, MEMBER)["params"]
    wanted = jax.jit(bare.apply)(
        {"params": {name: part for name, part in cut.items() if not name.startswith("stage")}},
        IMAGES,
    )
    mapped = run(masks, MINI.masks(MEMBER))[1]
    assert relative_error(mapped[0], wanted) < 1e-5
    assert relative_error(mapped[1], wanted) > 1e-3


def test_windows_are_cut_to_the_grid(variables_for, relative_error):
    """Where the grid is smaller than both, two windows are one network: the same parameters, logits
    and cost.
    """
    # 2 x 2 tokens in the third stage at 32 px
    space = dataclasses.replace(MINI, window_size=((2, 3), (2,), (2, 3), (2,)))
    model = space.supernet(32, 3)
    variables = jax.device_get(variables_for(model, IMAGES, size=0.1))

    def tables(i):
        return {
            name
            for name in variables["params"][f"stage_{i}"]["blocks"]["block"]["attention"]
            if "bias" in name
        }

    assert [tables(i) for i in range(4)] == [
        {"relative_bias_2", "relative_bias_3"},
        {"relative_bias_2"},
        {"relative_bias_2"},
        {"relative_bias_1"},
    ]
    archs = [MEMBER, dataclasses.replace(MEMBER, window_size=(3, 2, 3, 2))]
    cuts = [space.subnet(variables, arch) for arch in archs]
    assert jax.tree.all(jax.tree.map(np.array_equal, *cuts))
    run = jax.jit(model.apply)
    logits = [run(variables, IMAGES, masks=space.masks(arch)) for arch in archs]
    np.testing.assert_array_equal(*logits)
    assert space.cost(archs[0], 32) == space.cost(archs[1], 32)
    assert space.cost(archs[0], 224).params < space.cost(archs[1], 224).params


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embed_dim": [96, 192, 384, 700]}, ("embed_dim=[96, 192, 384, 700]", "512, 640, 768")),
        ({"depth": [2, 2, 7, 2]}, ("depth=[2, 2, 7, 2]", "(4, 6, 8)")),
        ({"num_heads": [3, 6, 12]}, ("num_heads=[3, 6, 12]", "(2, 3)")),
        ({"mlp_ratio": 4}, ("mlp_ratio=4", "2.0, 3.0, 4.0")),
        ({"window_size": [7, 7, 14, 14]}, ("window_size=[7, 7, 14, 14]", "(7,)")),
        ({"window_size": None}, ("window_size",)),
    ],
)
def test_bad_json_names_the_field(change, words):
    """A value outside the space, a list of another length or none, a missing field: told by name
    with what was wanted.
    """
    with pytest.raises(spaces.InvalidArchitecture) as caught:
        S3.from_json({k: v for k, v in {**GOOD, **change}.items() if v is not None})
    assert all(word in str(caught.value) for word in words)


def test_groups_and_depth():
    """What comparisons group by is the last stage's width; depth counts all blocks."""
    assert S3.width(TINY) == 768
    assert S3.total_depth(TINY) == 12
