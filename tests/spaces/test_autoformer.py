"""The AutoFormer spaces: counts, encodings, and the supernet that stands in for every member."""

import dataclasses
import json
import math

import hypothesis.strategies as st
import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from vintk_jax import ntk, spaces
from vintk_jax.errors import UnknownName
from vintk_jax.spaces.autoformer import AutoFormer, AutoFormerSpace

SPACES = [spaces.get(name) for name in spaces.names()]
MINI = AutoFormerSpace("mini", (16, 24), (1, 2), (1, 2), (1.0, 1.5))  # 2 (4 + 16) members
IMAGES = jax.random.normal(jax.random.key(0), (3, 32, 32, 3))
seeds = st.integers(0, 10**6)
each_space = pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)


class Mine(AutoFormerSpace):
    """A space of a user's own, as a class that needs no arguments."""

    def __init__(self):
        super().__init__("mine", (16,), (1,), (1,), (1.0,))


def sample(space, seed):
    return space.sample(np.random.default_rng(seed))


@pytest.mark.parametrize("table", ["autoformer_tiny_imagenet", "autoformer_small_imagenet"])
def test_published_parameter_counts(nas_tables, table):
    """Parameters of every row as its source counts them, to the last one."""
    content = json.loads((nas_tables / f"{table}.json").read_text())
    space = spaces.get(content["space"])
    assert len(content["rows"]) > 400
    for row in content["rows"]:
        assert space.cost(space.from_json(row["arch"])).params == round(row["params_m"] * 1e6)


def test_members_of_the_trained_table_belong_to_the_space(nas_tables):
    """Rows of the table without counts parse, and come back as they were."""
    for row in json.loads((nas_tables / "autoformer_tiny_trained.json").read_text())["rows"]:
        space = spaces.get("autoformer-tiny")
        assert space.to_json(space.from_json(row["arch"])) == row["arch"]


def dot_macs(jaxpr):
    """Multiply-adds of all matrix products in a program: batch m n k of every dot_general, loops counted as often as they run."""
    total = 0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += math.prod(eqn.outvars[0].aval.shape) * math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
        times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        total += times * sum(dot_macs(inner) for inner in jax.extend.core.jaxprs_in_params(eqn.params))
    return total


def test_dot_macs_counts_products():
    """The counter itself, on a batched product and one in a loop."""
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((2, 3, 4), (2, 4, 5))]
    assert dot_macs(jax.make_jaxpr(lambda a, b: a @ b)(*shapes).jaxpr) == 2 * 3 * 4 * 5
    loop = lambda a: jax.lax.fori_loop(0, 7, lambda i, c: c @ c, a)
    assert dot_macs(jax.make_jaxpr(loop)(jax.ShapeDtypeStruct((3, 3), jnp.float32)).jaxpr) == 7 * 27


@each_space
@settings(max_examples=4)
@given(seed=seeds, image_size=st.sampled_from([64, 224]), num_classes=st.sampled_from([10, 1000]))
def test_cost_is_what_the_model_has_and_does(space, seed, image_size, num_classes):
    """Parameters of the initialised model and multiply-adds of its traced forward pass, both exactly; nothing is computed."""
    arch = sample(space, seed)
    model = space.model(arch, image_size, num_classes=num_classes)
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    cost = space.cost(arch, image_size, num_classes)
    assert cost.params == sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))
    # The model adds relative positions to the attention by products with constant zeros and ones (`attention.places`): not a cost of it.
    grid = image_size // 16
    shifts = 2 * sum(arch.num_heads) * (grid**2 + 1) ** 2 * (2 * grid + 2)
    assert cost.flops == dot_macs(jax.make_jaxpr(model.apply)(variables, image).jaxpr) - shifts


@pytest.mark.parametrize("size", [64, 224])
def test_cost_at_both_sizes(size):
    """The same for one member at each size, whatever hypothesis draws."""
    test_cost_is_what_the_model_has_and_does.hypothesis.inner_test(SPACES[0], 1, size, 10)


@each_space
@given(seed=seeds)
def test_round_trips(space, seed):
    """JSON text and decisions give the architecture back; decisions are those of `choices`."""
    arch = sample(space, seed)
    assert space.from_json(json.loads(json.dumps(space.to_json(arch)))) == arch
    chosen = space.encode(arch)
    assert space.decode(chosen) == arch
    assert set(chosen) == set(space.choices())
    assert all(chosen[name] in options for name, options in space.choices().items())
    assert len(arch.num_heads) == len(arch.mlp_ratio) == arch.depth
    assert hash(arch) == hash(dataclasses.replace(arch))


@each_space
def test_cheapest_is_no_dearer_than_any(space):
    """Neither of 200 samples nor of a single step up; and it belongs to the space."""
    least = space.cost(space.cheapest())
    assert space.from_json(space.to_json(space.cheapest())) == space.cheapest()
    for seed in range(200):
        cost = space.cost(sample(space, seed))
        assert cost.params >= least.params
        assert cost.flops >= least.flops


def test_size_counts_the_members():
    """As many as `enumerate` gives, all different and valid; the three spaces' sizes by their formula."""
    members = list(MINI.enumerate())
    assert len(members) == len(set(members)) == MINI.size() == 40
    assert all(MINI.from_json(MINI.to_json(arch)) == arch for arch in members)
    assert {sample(MINI, seed) for seed in range(600)} == set(members)
    assert [space.size() for space in SPACES] == [
        3 * sum(k**d for d in depths) for k, depths in ((4, (12, 13, 14)), (9, (12, 13, 14)), (6, (14, 15, 16)))
    ]


@each_space
def test_samples_follow_the_key_and_reach_every_option(space):
    """One key, one architecture; over 100 keys every option of every decision occurs, widths and depths about equally often."""
    keys = jax.random.split(jax.random.key(3), 100)
    archs = [space.sample(key) for key in keys]
    assert space.sample(keys[5]) == archs[5]
    assert len(set(archs)) == 100
    assert {heads for arch in archs for heads in arch.num_heads} == set(space.num_heads)
    assert {ratio for arch in archs for ratio in arch.mlp_ratio} == set(space.mlp_ratio)
    for field in ("embed_dim", "depth"):
        counts = [sum(getattr(arch, field) == option for arch in archs) for option in getattr(space, field)]
        assert sum(counts) == 100
        assert min(counts) > 15


GOOD = {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [4] * 12}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embed_dim": 200}, ("embed_dim=200", "192, 216, 240")),
        ({"depth": 11}, ("depth=11", "12, 13, 14")),
        ({"num_heads": [3] * 11 + [5]}, ("num_heads=5", "3, 4")),
        ({"mlp_ratio": [3] + [4] * 11}, ("mlp_ratio=3", "3.5, 4")),
        ({"num_heads": [3] * 13}, ("num_heads has 13", "depth=12")),
        ({"mlp_ratio": [4] * 11}, ("mlp_ratio has 11", "depth=12")),
        ({"depth": None}, ("depth",)),
    ],
)
def test_bad_json_names_the_field(change, words):
    """A value outside the space, a list of another length, a missing field: told by name with what was wanted."""
    space = spaces.get("autoformer-tiny")
    assert space.from_json(GOOD).mlp_ratio == (4.0,) * 12
    fields = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    with pytest.raises(spaces.InvalidArchitecture) as caught:
        space.from_json(fields)
    assert all(word in str(caught.value) for word in words)


def test_spaces_by_name():
    """Built-in names; the nearest of them for a slip; one's own class or instance by import path."""
    assert [space.name for space in SPACES] == spaces.names() == ["autoformer-tiny", "autoformer-small", "autoformer-base"]
    with pytest.raises(UnknownName, match="Did you mean 'autoformer-small'"):
        spaces.get("autoformer-smal")
    assert spaces.get(f"{__name__}:MINI") is MINI
    mine = spaces.get(f"{__name__}:Mine")
    assert isinstance(mine, Mine)
    assert mine.size() == 1
    for wrong in (f"{__name__}:Absent", "no_such_module_here:Space"):
        with pytest.raises(UnknownName, match="could not be imported"):
            spaces.get(wrong)


def test_image_sizes_that_patches_do_not_fill():
    """A size that 16 doesn't divide is refused before anything is built."""
    for build in (lambda: MINI.model(MINI.cheapest(), 40), lambda: MINI.supernet(40)):
        with pytest.raises(ValueError, match=r"image_size=40.*16"):
            build()


@pytest.mark.parametrize("scan", [True, False], ids=["scanned", "unrolled"])
def test_masked_supernet_is_the_small_model(scan, variables_for, relative_error):
    """Logits and kernel under an architecture's masks are those of its own model with the cut-down weights; for three members."""
    supernet = MINI.supernet(32, 3, scan=scan)
    variables = variables_for(supernet, IMAGES, size=0.1)

    @jax.jit
    def wide(v, masks):
        return supernet.apply(v, IMAGES, masks=masks), ntk.kernel(supernet, v, IMAGES, masks=masks)

    for arch in (AutoFormer(16, 1, (1,), (1.0,)), AutoFormer(24, 2, (1, 2), (1.5, 1.0)), AutoFormer(16, 2, (2, 1), (1.0, 1.5))):
        small, cut = MINI.model(arch, 32, num_classes=3), MINI.subnet(variables, arch)
        wanted_shapes = jax.eval_shape(small.init, jax.random.key(0), IMAGES)
        assert jax.tree.map(jnp.shape, cut) == jax.tree.map(lambda leaf: leaf.shape, wanted_shapes)
        logits, kernel = jax.jit(lambda v, small=small: (small.apply(v, IMAGES), ntk.kernel(small, v, IMAGES)))(cut)
        got = wide(variables, jax.tree.map(jnp.asarray, MINI.masks(arch)))
        assert relative_error(got[0], logits) < 1e-5
        assert relative_error(got[1], kernel) < 1e-5


def test_subnet_takes_the_same_weights_from_either_supernet(variables_for, stack_blocks):
    """Cut from the unrolled supernet and from the scanned one of the same weights: the same variables, leading columns each."""
    variables = variables_for(MINI.supernet(32, 3, scan=False), IMAGES)
    arch = AutoFormer(16, 2, (1, 2), (1.0, 1.5))
    one, other = MINI.subnet(variables, arch), MINI.subnet(stack_blocks(variables), arch)
    jax.tree.map(np.testing.assert_array_equal, one, other)
    qkv = variables["params"]["block_0"]["attention"]["qkv"]["kernel"]
    wanted = np.concatenate([qkv[:16, part * 128 : part * 128 + 64] for part in range(3)], axis=1)
    np.testing.assert_array_equal(one["params"]["block_0"]["attention"]["qkv"]["kernel"], wanted)


@given(seed=seeds)
def test_masks_count_what_the_architecture_has(seed):
    """Ones are leading, as many as the architecture's columns, blocks, heads and hidden units; dead blocks have none."""
    arch = sample(MINI, seed)
    masks = MINI.masks(arch)
    rest = (0,) * (2 - arch.depth)
    assert {name: mask.shape for name, mask in masks.items()} == {"embed": (24,), "alive": (2,), "heads": (2, 2), "hidden": (2, 36)}
    assert masks["embed"].sum() == arch.embed_dim
    assert masks["alive"].sum() == arch.depth
    assert tuple(masks["heads"].sum(1)) == arch.num_heads + rest
    assert tuple(masks["hidden"].sum(1)) == arch.hidden + rest
    assert all((np.diff(mask, axis=-1) <= 0).all() and mask.dtype == np.float32 for mask in masks.values())
