"""The PiT space and model: the published table, pooling against Linen's convolution, bad
architectures.
"""

import json
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import ntk, spaces
from vintk_jax.models.pit import DepthwisePool
from vintk_jax.spaces.pit import PitArch, PitSpace

PIT = spaces.get("pit")
GOOD = {"base_dim": 16, "mlp_ratio": 2, "depth": [1, 4, 2], "num_heads": [2, 2, 4]}


def test_members_of_the_trained_table_belong_to_the_space(nas_tables):
    """Every row parses, and comes back as it was."""
    rows = json.loads((nas_tables / "pit_trained.json").read_text())["rows"]
    assert len(rows) > 50
    assert all(PIT.to_json(PIT.from_json(row["arch"])) == row["arch"] for row in rows)


def test_published_size():
    """PiT-Ti as published (Heo et al. 2021, table 1: 4.9 M parameters): widths 64, 128, 256, depths
    2, 6, 4, heads of 32, MLP ratio 4.
    """
    assert round(PIT.cost(PitArch(32, 4, (2, 6, 4), (2, 4, 8))).params / 1e6, 1) == 4.8


@pytest.mark.parametrize("features", [3, 6, 12])
@pytest.mark.parametrize("grid", [(7, 7), (4, 6)])
def test_pooling_is_a_depthwise_convolution(features, grid, variables_for, relative_error):
    """Linen's grouped convolution of stride 2, padded by one, with the same kernel."""
    x = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((2, *grid, 3))))
    pool = DepthwisePool(features)
    conv = nn.Conv(features, (3, 3), 2, padding=1, feature_group_count=3)

    @jax.jit
    def both(variables, x):
        kernel = variables["params"]["kernel"][:, :, None]
        bias = variables["params"]["bias"]
        return pool.apply(variables, x), conv.apply({"params": {"kernel": kernel, "bias": bias}}, x)

    assert relative_error(*both(variables_for(pool, x), x)) < 1e-6


def test_pooling_refuses_fractions():
    """Channels that don't divide have no depth-wise convolution."""
    with pytest.raises(ValueError, match=r"multiple of 3 channels.*got 4"):
        jax.eval_shape(DepthwisePool(4).init, jax.random.key(0), np.ones((1, 4, 4, 3)))


def test_kernel_is_the_jacobians(variables_for, jacobian_kernel, relative_error):
    """The structured kernel of the masked, scanned supernet, in float32, by the definition of the
    member's own model.
    """
    space = PitSpace("mini-pit", (4, 6), (1, 2), ((1,), (1, 2), (1,)), (1, 2))
    arch = PitArch(4, 1, (1, 1, 1), (1, 1, 2))
    rng = np.random.default_rng(0)
    x, v = (jnp.asarray(np.float32(rng.standard_normal(s))) for s in ((3, 32, 32, 3), (3, 1)))
    model = space.supernet(32, 3)
    alone = space.model(arch, 32, num_classes=3)
    variables = jax.device_get(variables_for(model, x, size=0.1))
    run = jax.jit(partial(ntk.kernel, model))
    got = run(variables, x, cotangent=v, masks=space.masks(arch))
    cut = space.subnet(variables, arch)
    assert relative_error(got, jacobian_kernel(alone.apply, cut, x, v)) < 1e-5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_dim": 20}, ("base_dim=20", "16, 24, 32, 40")),
        ({"mlp_ratio": 3}, ("mlp_ratio=3", "2, 4, 6, 8")),
        ({"depth": [1, 4, 5]}, ("depth=[1, 4, 5]", "(2, 4, 6)")),
        ({"depth": [1, 4]}, ("depth=[1, 4]",)),
        ({"num_heads": [4, 2, 8]}, ("num_heads=[4, 2, 8]", "none below")),
        ({"num_heads": None}, ("num_heads",)),
    ],
)
def test_bad_json_names_the_field(change, words):
    """A value outside the space, a list of another length, a missing field: told by name with what
    was wanted.
    """
    assert PIT.from_json(GOOD) == PitArch(16, 2, (1, 4, 2), (2, 2, 4))
    with pytest.raises(spaces.InvalidArchitecture) as caught:
        PIT.from_json({k: v for k, v in {**GOOD, **change}.items() if v is not None})
    assert all(word in str(caught.value) for word in words)


def test_groups_and_depth():
    """What comparisons group by is the last stage's width; depth counts all blocks."""
    arch = PIT.from_json(GOOD)
    assert PIT.width(arch) == 64
    assert PIT.total_depth(arch) == 7
    assert np.prod(PIT.masks(arch)["stage_1"]["heads"].shape) == 8 * 8 * 40
