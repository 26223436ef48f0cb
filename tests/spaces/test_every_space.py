"""What holds for every search space: counts, encodings, and the supernet that stands in for every
member.
"""

from functools import partial

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from tiny_space import S3 as MINI_S3
from trees import name_of

from vintk_jax import spaces
from vintk_jax.errors import UnknownName, UserError
from vintk_jax.spaces import conformance, supernet_conformance
from vintk_jax.spaces.autoformer import AutoFormer, AutoFormerSpace
from vintk_jax.spaces.block_shapes import traced_blocks
from vintk_jax.spaces.deit_video import DeitVideoSpace
from vintk_jax.spaces.lvvit import LvVitSpace
from vintk_jax.spaces.nasbench201 import CellArch, CellSpace
from vintk_jax.spaces.pit import PitArch, PitSpace
from vintk_jax.spaces.s3 import S3Arch
from vintk_jax.spaces.segmentation import SegmenterArch, SegmenterSpace

SPACES = [spaces.get(name) for name in spaces.names()]
MINI = AutoFormerSpace("mini", (16, 24), (1, 2), (1, 2), (1.0, 1.5))  # 2 (4 + 16) members
# 2 x 2 x 2 x 4 members
MINI_PIT = PitSpace("mini-pit", (4, 6), (1, 2), ((1,), (1, 2), (1,)), (1, 2))
MINI_SEG = SegmenterSpace(
    "mini-seg",
    (8, 12),
    (1, 2),
    (1, 2),
    (1.0, 1.5),
    stages=2,
    head_dim=4,
    patch_size=8,
    conv_width=6,
    mask_depth=1,
    mask_heads=2,
    mask_hidden=10,
    resolution=(20, 32),
    num_classes=3,
)  # 2 x 3 x 8^2 members
MINI_CELLS = CellSpace("mini-cells", (4, 6), 2)
# 2 x 2 x (4 + 16) members
MINI_LVVIT = LvVitSpace("mini-lvvit", (16, 24), (1, 2), (4, 6), (1, 2), (1.0, 1.5))
# 2 (4 + 16) members
MINI_CLIPS = DeitVideoSpace(
    "mini-clips", (8, 12), (1, 2), (1, 2), (1.0, 1.5), head_dim=4, frames=3, resolution=32
)
seeds = st.integers(0, 10**6)
each_space = pytest.mark.parametrize("space", SPACES, ids=name_of)


class Mine(AutoFormerSpace):
    """A space of a user's own, as a class that needs no arguments."""

    def __init__(self):
        super().__init__("mine", (16,), (1,), (1,), (1.0,))


def sample(space, seed):
    return space.sample(np.random.default_rng(seed))


# Every space at full size, and one of each class at another.
FIRST_OF_A_CLASS = list({type(space): space for space in reversed(SPACES)}.values())
COSTS = [(space, 2, 224, 1000) for space in SPACES]
COSTS += [(space, 1, 64, 10) for space in FIRST_OF_A_CLASS]


@pytest.mark.parametrize(
    ("space", "seed", "image_size", "num_classes"),
    COSTS,
    ids=name_of,
)
def test_cost_is_what_the_model_has_and_does(space, seed, image_size, num_classes):
    """Parameters of the initialised model and multiply-adds of its traced forward pass, both
    exactly; nothing is computed.
    """
    conformance.counts(space, [sample(space, seed)], image_size, num_classes)


@each_space
def test_blocks_are_those_of_the_model(space):
    """A space's own shapes of its blocks are those that a trace of the model sees; cells, which
    have no MLPs, are named.
    """
    arch = sample(space, 3)
    if space.name == "nasbench201":
        assert [block.embed for block in space.blocks(arch)] == [16] * 5 + [32] * 5 + [64] * 5
        with pytest.raises(UserError, match="no block with an MLP"):
            traced_blocks(space, arch)
    else:
        assert space.blocks(arch) == traced_blocks(space, arch)


@pytest.mark.parametrize(
    "space",
    [MINI, MINI_PIT, MINI_S3, MINI_LVVIT, MINI_CLIPS, MINI_CELLS],
    ids=name_of,
)
def test_what_the_classifier_reads(space):
    """Without its blocks, a model that pools tells images apart; a class token has seen none."""
    arch = next(space.enumerate())
    wide = space.supernet(32, 3)
    shape = (2, *space.input_shape(32))
    images = jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
    masks = jax.tree.map(jnp.asarray, space.stem_masks(arch))
    variables = conformance.draw(wide, images)
    logits = jax.jit(wide.apply)(variables, images, masks=masks)
    assert space.pools(arch) == bool(np.any(np.abs(logits[0] - logits[1]) > 1e-6))


@each_space
@given(seed=seeds)
def test_round_trips(space, seed):
    """JSON text and decisions give the architecture back; decisions are those of `choices`."""
    conformance.round_trips(space, [sample(space, seed)])


@each_space
def test_cheapest_is_no_dearer_than_any(space):
    """Neither of 200 samples nor of a single step up; and it belongs to the space. It has the
    fewest multiply-adds too, but where larger patches save these and cost parameters.
    """
    conformance.least(space, [sample(space, seed) for seed in range(200)])
    if space.name == "cifar-vit":
        assert space.least().params == space.cost(space.cheapest()).params
    else:
        assert space.least() == space.cost(space.cheapest())


@pytest.mark.parametrize(
    ("space", "count"),
    [
        (MINI, 40),
        (MINI_PIT, 32),
        (MINI_S3, 64),
        (MINI_LVVIT, 80),
        (MINI_SEG, 384),
        (MINI_CLIPS, 40),
    ],
    ids=name_of,
)
def test_size_counts_the_members(space, count):
    """As many as `enumerate` gives, all different and valid; samples reach all of them and no
    other.
    """
    members = list(space.enumerate())
    conformance.sizes(space)
    assert space.size() == count
    assert all(space.from_json(space.to_json(arch)) == arch for arch in members)
    assert {sample(space, seed) for seed in range(8 * count + 300)} == set(members)


def test_sizes_of_the_built_in_spaces():
    """By their formulas: widths x sum over depths of (heads x ratios)^depth; every combination for
    the others; 5 operations on 6 edges.
    """
    formula = [
        3 * sum(k**d for d in depths)
        for k, depths in ((4, (12, 13, 14)), (9, (12, 13, 14)), (6, (14, 15, 16)))
    ]
    clips = [4 * sum(k**d for d in depths) for k, depths in ((12, (8, 10, 12)), (9, (2, 3, 4)))]
    lvvit = 15 * sum(12**d for d in (12, 14, 16))
    cifar = 3 * 2 * 2 * 2 * 3 * 2 * (5 * (3 + 9 + 27 + 81)) ** 2
    mini = 7 * sum(20**d for d in (2, 3, 4, 5, 6, 8))
    others = [4 * 4 * 27 * 10, 3**15 * 2 * 8, lvvit, cifar, mini]
    others += [9 * 27**3, 12 * 27**3]
    assert [space.size() for space in SPACES] == [*formula, *others, *clips, 15_625]


def test_spaces_by_name():
    """Built-in names; the nearest of them for a slip; one's own class or instance by import
    path.
    """
    vits = ["autoformer-tiny", "autoformer-small", "autoformer-base", "pit", "s3", "lvvit"]
    vits += ["cifar-vit", "vit-mini"]
    built_in = [*vits, "seg-small", "seg-mini", "deit-video", "deit-video-mini", "nasbench201"]
    assert [space.name for space in SPACES] == spaces.names() == built_in
    with pytest.raises(UnknownName, match="Did you mean 'autoformer-small'"):
        spaces.get("autoformer-smal")
    assert spaces.get(f"{__name__}:MINI") is MINI
    mine = spaces.get(f"{__name__}:Mine")
    assert isinstance(mine, Mine)
    assert mine.size() == 1
    for wrong in (f"{__name__}:Absent", "no_such_module_here:Space"):
        with pytest.raises(UnknownName, match="could not be imported"):
            spaces.get(wrong)


@pytest.mark.parametrize("space", [MINI, MINI_PIT, MINI_S3, MINI_LVVIT, MINI_CLIPS], ids=name_of)
def test_image_sizes_that_patches_do_not_fill(space):
    """A size that no whole number of patches fills is refused before anything is built."""
    for build in (
        partial(space.model, space.cheapest(), 44),
        partial(space.supernet, 44),
        partial(space.supernet, 8),
    ):
        with pytest.raises(ValueError, match=r"(16|32).*image_size=(44|8)"):
            build()


# The smallest members that between them switch off a column, a head, hidden units and a block (or
# take every operation of a cell), leave each on where another has it off, and have every decoder
# and window.
MEMBERS = {
    "mini": [AutoFormer(16, 1, (1,), (1.0,)), AutoFormer(24, 2, (2, 1), (1.0, 1.5))],
    "mini-clips": [AutoFormer(8, 1, (1,), (1.0,)), AutoFormer(12, 2, (2, 1), (1.0, 1.5))],
    "mini-seg": [
        SegmenterArch(8, (1, 1), (1, 2), (1.0, 1.5), "linear"),
        SegmenterArch(8, (1, 1), (2, 1), (1.5, 1.0), "mask"),
        SegmenterArch(12, (1, 2), (2, 1), (1.5, 1.0), "conv"),
    ],
    "mini-s3": [
        S3Arch((8, 12, 16, 12), (1, 1, 2, 1), (1, 1, 1, 2), (1.0, 1.0, 1.0, 1.0), (3, 2, 2, 2)),
        S3Arch((12, 12, 16, 16), (2, 1, 2, 1), (2, 1, 1, 2), (1.0, 1.5, 1.0, 1.0), (2, 2, 2, 2)),
    ],
    "mini-pit": [PitArch(4, 1, (1, 1, 1), (1, 1, 2)), PitArch(6, 2, (1, 2, 1), (1, 2, 2))],
}
MEMBERS["mini-lvvit"] = [
    MINI_LVVIT.decode(dict(zip(MINI_LVVIT.choices(), values, strict=True)))
    for values in ((16, 1, 4, 1, 1.0, 1, 1.0), (24, 2, 6, 2, 1.0, 1, 1.5))
]
MEMBERS["mini-cells"] = [
    CellArch(
        ("nor_conv_3x3", "none", "avg_pool_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3")
    ),
    CellArch(("skip_connect", "avg_pool_3x3", "none", "none", "skip_connect", "skip_connect")),
]


BOTH_WAYS = [
    pytest.param(
        space,
        scan,
        id=f"{space.name}-{'scanned' if scan else 'unrolled'}",
        marks=pytest.mark.slow
        if space in (MINI_CLIPS, MINI_S3, MINI_CELLS) or (space is not MINI and not scan)
        else (),
    )
    for space in (MINI, MINI_PIT, MINI_S3, MINI_LVVIT, MINI_SEG, MINI_CELLS, MINI_CLIPS)
    for scan in (True, False)
]


@pytest.fixture
def weights_on_the_host(monkeypatch):
    """Weights are drawn as NumPy arrays, of which a cut compiles nothing."""
    draw = conformance.draw

    def draw_on_host(*args, **kwargs):
        return jax.device_get(draw(*args, **kwargs))

    monkeypatch.setattr(supernet_conformance, "draw", draw_on_host)


@pytest.mark.usefixtures("weights_on_the_host")
@pytest.mark.parametrize(("space", "scan"), BOTH_WAYS)
def test_masked_supernet_is_the_small_model(space, scan):
    """Logits and kernel under an architecture's masks are those of its own model with the cut-down
    weights; for some members.
    """
    conformance.masks(space, MEMBERS[space.name])
    supernet_conformance.supernet(space, MEMBERS[space.name], 32, scan=scan)


@pytest.mark.usefixtures("weights_on_the_host")
@pytest.mark.parametrize("space", [MINI, MINI_LVVIT, MINI_SEG, MINI_CLIPS], ids=name_of)
def test_the_part_of_a_width_is_the_whole_masked(space):
    """Logits and kernel of a narrow member; the parts hold all members, each its width's."""
    supernet_conformance.parts(space, MEMBERS[space.name][:1], 32)
    members = [arch for part in space.by_width().values() for arch in part.enumerate()]
    assert set(members) == set(space.enumerate())
    assert all(
        space.width(arch) == width
        for width, part in space.by_width().items()
        for arch in part.enumerate()
    )
