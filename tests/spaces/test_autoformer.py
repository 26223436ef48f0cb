"""The AutoFormer spaces: published counts, sampling, masks, and cutting weights; `test_every_space`
has what holds for all.
"""

import json

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from trees import name_of

from vintk_jax import spaces
from vintk_jax.spaces.autoformer import AutoFormer, AutoFormerSpace

SPACES = [space for space in map(spaces.get, spaces.names()) if isinstance(space, AutoFormerSpace)]
MINI = AutoFormerSpace("mini", (16, 24), (1, 2), (1, 2), (1.0, 1.5))  # 2 (4 + 16) members
IMAGES = jnp.asarray(np.zeros((3, 32, 32, 3), np.float32))
seeds = st.integers(0, 10**6)
each_space = pytest.mark.parametrize("space", SPACES, ids=name_of)


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


@each_space
def test_samples_follow_the_key_and_reach_every_option(space):
    """One key, one architecture; over 100 keys every option of every decision occurs, widths and
    depths about equally often.
    """
    keys = jax.random.split(jax.random.key(3), 100)
    archs = [space.sample(key) for key in keys]
    assert space.sample(keys[5]) == archs[5]
    # deit-video-mini has some 29,000 members: keys may meet
    assert len(set(archs)) >= (100 if space.size() > 10**6 else 96)
    assert {heads for arch in archs for heads in arch.num_heads} == set(space.num_heads)
    assert {ratio for arch in archs for ratio in arch.mlp_ratio} == set(space.mlp_ratio)
    for field in ("embed_dim", "depth"):
        counts = [
            sum(getattr(arch, field) == option for arch in archs)
            for option in getattr(space, field)
        ]
        assert sum(counts) == 100
        assert min(counts) > 45 / len(counts)


GOOD = {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [4] * 12}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embed_dim": 200}, ("embed_dim=200", "192, 216, 240")),
        ({"depth": 11}, ("depth=11", "12, 13, 14")),
        ({"num_heads": [3] * 11 + [5]}, ("num_heads=5", "3, 4")),
        ({"mlp_ratio": [3] + [4] * 11}, ("mlp_ratio=3", "3.5, 4")),
        ({"num_heads": [3] * 13}, ("num_heads at depth=12", "got 13")),
        ({"mlp_ratio": [4] * 11}, ("mlp_ratio at depth=12", "got 11")),
        ({"depth": None}, ("depth",)),
    ],
)
def test_bad_json_names_the_field(change, words):
    """A value outside the space, a list of another length, a missing field: told by name with what
    was wanted.
    """
    space = spaces.get("autoformer-tiny")
    assert space.from_json(GOOD).mlp_ratio == (4.0,) * 12
    fields = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    with pytest.raises(spaces.InvalidArchitecture) as caught:
        space.from_json(fields)
    assert all(word in str(caught.value) for word in words)


def test_subnet_takes_the_same_weights_from_either_supernet(variables_for, stack_blocks):
    """Cut from the unrolled supernet and from the scanned one of the same weights: the same
    variables, leading columns each.
    """
    variables = variables_for(MINI.supernet(32, 3, scan=False), IMAGES)
    variables, stacked = jax.device_get((variables, stack_blocks(variables)))
    arch = AutoFormer(16, 2, (1, 2), (1.0, 1.5))
    one = MINI.subnet(variables, arch)
    other = MINI.subnet(stacked, arch)
    jax.tree.map(np.testing.assert_array_equal, one, other)
    qkv = variables["params"]["block_0"]["attention"]["qkv"]["kernel"]
    wanted = np.concatenate([qkv[:16, part * 128 : part * 128 + 64] for part in range(3)], axis=1)
    np.testing.assert_array_equal(one["params"]["block_0"]["attention"]["qkv"]["kernel"], wanted)


@given(seed=seeds)
def test_masks_count_what_the_architecture_has(seed):
    """Ones are leading, as many as the architecture's columns, blocks, heads and hidden units; dead
    blocks have none.
    """
    arch = sample(MINI, seed)
    masks = MINI.masks(arch)
    rest = (0,) * (2 - arch.depth)
    assert {name: mask.shape for name, mask in masks.items()} == {
        "embed": (24,),
        "alive": (2,),
        "heads": (2, 2),
        "hidden": (2, 36),
    }
    assert masks["embed"].sum() == arch.embed_dim
    assert masks["alive"].sum() == arch.depth
    assert tuple(masks["heads"].sum(1)) == arch.num_heads + rest
    assert tuple(masks["hidden"].sum(1)) == arch.hidden + rest
    assert all(
        (np.diff(mask, axis=-1) <= 0).all() and mask.dtype == np.float32 for mask in masks.values()
    )
