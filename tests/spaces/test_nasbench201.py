"""NAS-Bench-201's space: the published counts, the network by explicit loops, its kernel by the
definition, bad architectures.
"""

import json
from functools import partial
from operator import itemgetter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d
from trees import float64, stacked

from vintk_jax import ntk, spaces
from vintk_jax.models.cells import EDGES, OPERATIONS, average_pool
from vintk_jax.models.channel_norm import ChannelNorm
from vintk_jax.ntk.intercepting import UnsupportedModel
from vintk_jax.spaces.nasbench201 import CellArch, CellSpace

SPACE = spaces.get("nasbench201")
MINI = CellSpace("mini-cells", (3, 4), 2)
IMAGES = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((3, 8, 8, 3))))
MIXED = ("nor_conv_3x3", "none", "avg_pool_3x3", "skip_connect", "nor_conv_1x1", "nor_conv_3x3")


@pytest.fixture(scope="module")
def variables(variables_for):
    return variables_for(MINI.supernet(8, 3), IMAGES, size=0.4)


@pytest.fixture(scope="module")
def logits_under(variables):
    """A compiled function of masks: the supernet's logits."""
    apply = jax.jit(MINI.supernet(8, 3).apply)

    def run(masks):
        return np.asarray(apply(variables, IMAGES, masks=masks))

    return run


def test_published_counts(nas_tables):
    """Every row: parameters as its source counts them, to the last one; multiply-adds, too, without
    what it counts beside products.

    The source adds three a pixel and channel for each norm with its ReLU and nine for each average
    pooling.
    """
    rows = json.loads((nas_tables / "nasbench201.json").read_text())["rows"]
    assert len(rows) == 399
    beside = set()
    in_cells = 5 * (16 * 32**2 + 32 * 16**2 + 64 * 8**2)
    for row in rows:
        arch = SPACE.from_json(row["arch"])
        assert SPACE.to_json(arch) == row["arch"]
        cost = SPACE.cost(arch, 32, 10)
        assert cost.params == round(row["params_m"] * 1e6)
        counted = 3 * SPACE.total_depth(arch) + 9 * arch.ops.count("avg_pool_3x3")
        beside.add(round(row["flops_m"] * 1e6) - cost.flops - counted * in_cells)
    assert len(beside) == 1  # what the stem, the reductions and the last norm have
    assert 0 < beside.pop() < 200_000


def test_parameters_without_a_table():
    """73,306 outside the cells; 243,040 and 28,000 for a convolution on one edge of all cells (10
    classes).
    """

    def params(*ops):
        return SPACE.cost(CellArch(ops + ("none",) * (6 - len(ops))), 32, 10).params

    assert params() == params("skip_connect", "avg_pool_3x3") == 73_306
    assert params("nor_conv_3x3") - params() == 243_040
    assert params("none", "nor_conv_1x1") - params() == 28_000


# The network once more, in NumPy.


def convolved(x, kernel, stride=1):
    """(n, h, w, c) by (side, side, c, f), padded by half a side, one channel pair at a time."""
    out = np.zeros((*x.shape[:3], kernel.shape[-1]))
    for n, c, f in np.ndindex(x.shape[0], x.shape[3], kernel.shape[3]):
        out[n, :, :, f] += correlate2d(x[n, :, :, c], kernel[:, :, c, f], mode="same")
    return out[:, ::stride, ::stride]


def normalised(x, p):
    y = np.zeros(x.shape)
    for n, c in np.ndindex(x.shape[0], x.shape[3]):
        y[n, :, :, c] = (x[n, :, :, c] - x[n, :, :, c].mean()) / np.sqrt(x[n, :, :, c].var() + 1e-5)
    return y * p["scale"] + p["bias"]


def operated(op, x, p):
    if op == "none":
        return 0 * x
    if op == "avg_pool_3x3":

        def around(i, j):
            return x[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean((1, 2))

        return np.stack(
            [np.stack([around(i, j) for j in range(x.shape[2])], 1) for i in range(x.shape[1])], 1
        )
    return (
        x
        if op == "skip_connect"
        else normalised(convolved(np.maximum(x, 0), p[op]["conv"]["kernel"]), p[op]["norm"])
    )


def logits_of(arch, params, x):
    x = normalised(convolved(x, params["stem"]["kernel"]), params["stem_norm"])
    for stage in range(2):
        if stage:
            p = params["reduction_1"]
            before = x
            x = normalised(
                convolved(np.maximum(x, 0), p["first"]["conv"]["kernel"], 2), p["first"]["norm"]
            )
            x = normalised(
                convolved(np.maximum(x, 0), p["second"]["conv"]["kernel"]), p["second"]["norm"]
            )
            halved = (
                before[:, ::2, ::2]
                + before[:, 1::2, ::2]
                + before[:, ::2, 1::2]
                + before[:, 1::2, 1::2]
            ) / 4
            x = x + convolved(halved, p["beside"]["kernel"])
        for cell in range(2):
            cells = params[f"stage_{stage}"]["blocks"]["cell"]
            p = jax.tree.map(itemgetter(cell), cells)
            nodes = [x, 0, 0, 0]
            for i, (source, target) in enumerate(EDGES):
                nodes[target] = nodes[target] + operated(arch.ops[i], nodes[source], p[f"edge_{i}"])
            x = nodes[3]
    x = np.maximum(normalised(x, params["norm"]), 0)
    return x.mean((1, 2)) @ params["head"]["kernel"] + params["head"]["bias"]


def test_network_by_loops(variables, logits_under, relative_error):
    """The masked supernet's logits in NumPy, for the five networks of one operation and ten drawn
    ones, by one compiled function.
    """
    params = float64(variables["params"])
    drawn = [MINI.sample(np.random.default_rng(seed)) for seed in range(10)]
    for arch in [CellArch((op,) * 6) for op in OPERATIONS] + drawn:
        assert (
            relative_error(
                logits_under(MINI.masks(arch)),
                logits_of(arch, params, np.asarray(IMAGES, np.float64)),
            )
            < 1e-5
        ), arch


def test_average_pool_is_linens(relative_error):
    x = np.random.default_rng(0).standard_normal((2, 5, 4, 3)).astype(np.float32)

    @jax.jit
    def both(x):
        linens = nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)
        return average_pool(x), linens

    assert relative_error(*both(x)) < 1e-6


@pytest.mark.parametrize("norm", ["places", "sample", "batch"])
def test_kernel_is_the_jacobians(norm, variables_for, jacobian_kernel, relative_error):
    """The structured kernel for each norm, by the definition; that the supernet's is the same is in
    `test_every_space`.
    """
    # A stage more, with the reduction ahead of it, for one of them.
    space = CellSpace("mini-cells", (3, 4) if norm == "places" else (3,), 2, norm)
    model = space.model(CellArch(MIXED), 8, num_classes=3)
    variables = variables_for(model, IMAGES, size=0.4)
    v = np.random.default_rng(1).standard_normal((3, 1)).astype(np.float32)
    run = jax.jit(partial(ntk.kernel, model))
    wanted = jacobian_kernel(model.apply, variables, IMAGES, v)
    assert relative_error(run(variables, IMAGES, cotangent=v), wanted) < 1e-5


def test_subnet_is_the_models_own_tree(variables):
    """The leaves of the member's own model, with the supernet's weights in them: those of a cell
    from its place in the stack; nothing but stem and reductions for a member without weights.
    """
    stacked = variables["params"]["stage_1"]["blocks"]["cell"]
    for ops in (MIXED, ("none", "skip_connect", "avg_pool_3x3") * 2):
        arch = CellArch(ops)
        cut = MINI.subnet(variables, arch)
        wanted = jax.eval_shape(MINI.model(arch, 8, num_classes=3).init, jax.random.key(0), IMAGES)
        assert jax.tree.map(np.shape, cut) == jax.tree.map(np.shape, wanted)
        for i, op in enumerate(ops):
            if not op.startswith("nor_conv"):
                continue
            for place in range(2):
                got = cut["params"]["stage_1"][f"cell_{place}"][f"edge_{i}"][op]
                wanted = jax.tree.map(itemgetter(place), stacked[f"edge_{i}"][op])
                jax.tree.map(np.testing.assert_array_equal, got, wanted)


@pytest.mark.slow
def test_kernels_under_vmap_and_map(variables, relative_error):
    """Two candidates at once, one after the other, and recomputing their nodes."""
    masks = stacked([MINI.masks(CellArch(ops)) for ops in (MIXED, OPERATIONS[:0:-1] + MIXED[:2])])

    def plain(masks):
        return ntk.kernel(MINI.supernet(8, 3), variables, IMAGES, masks=masks)

    def remat(masks):
        return ntk.kernel(MINI.supernet(8, 3, remat=True), variables, IMAGES, masks=masks)

    @jax.jit
    def run(masks):
        return jax.lax.map(plain, masks), jax.vmap(plain)(masks), jax.lax.map(remat, masks)

    mapped, *others = run(masks)
    assert [relative_error(other, mapped) < 1e-5 for other in others] == [True, True]


def test_norms(relative_error):
    """What each takes its mean and variance over, against Linen's."""
    x = np.random.default_rng(0).normal(1, 3, (4, 3, 2, 6)).astype(np.float32)
    linens = {
        "places": nn.InstanceNorm(epsilon=1e-5),
        "sample": nn.GroupNorm(1, epsilon=1e-5),
        "batch": nn.BatchNorm(use_running_average=False, use_bias=True, epsilon=1e-5),
    }

    @jax.jit
    def run(key, x):
        return {
            over: [norm.init_with_output(key, x)[0] for norm in (ChannelNorm(over), linen)]
            for over, linen in linens.items()
        }

    for over, (ours, wanted) in run(jax.random.key(0), x).items():
        assert relative_error(ours, wanted) < 1e-5, over


def test_batch_norm_is_still_refused(variables_for):
    """What the per-sample normalisation stands in for has no rule: the kernel would be wrong."""
    model = nn.BatchNorm(use_running_average=True)
    x = jnp.ones((2, 3))
    with pytest.raises(UnsupportedModel):
        ntk.kernel(model, variables_for(model, x), x)


def test_stem_and_empty_masks(logits_under):
    """The stem hands the cells' input on, whatever the architecture; a mask of zeros is a cell of
    nothing.
    """
    one, other = (MINI.stem_masks(CellArch(ops)) for ops in (MIXED, OPERATIONS[:1] * 6))
    np.testing.assert_array_equal(one["ops"], other["ops"])
    np.testing.assert_array_equal(
        one["ops"],
        MINI.masks(CellArch(("none", "none", "skip_connect", "none", "none", "none")))["ops"],
    )
    identity, nothing, zeros = (
        logits_under({"ops": m})
        for m in (one["ops"], MINI.masks(CellArch(("none",) * 6))["ops"], 0 * one["ops"])
    )
    np.testing.assert_array_equal(nothing, zeros)
    assert np.ptp(nothing, axis=0).max() == 0  # no image gets through
    assert np.ptp(identity, axis=0).max() > 0.01


def test_members():
    """5^6 different ones, in a fixed order; depth counts convolutions; all are of one width."""
    members = list(SPACE.enumerate())
    assert len(members) == len(set(members)) == SPACE.size() == 15_625
    assert members[1] == CellArch(("none",) * 5 + ("skip_connect",))
    assert SPACE.total_depth(CellArch(MIXED)) == 3
    assert {SPACE.width(arch) for arch in members[::1000]} == {64}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ops": [*MIXED[:5], "nor_conv_5x5"]}, ("ops[5]='nor_conv_5x5'", ", ".join(OPERATIONS))),
        ({"ops": list(MIXED[:5])}, ("a list of 6", "0-1, 0-2, 0-3, 1-2, 1-3, 2-3")),
        ({"ops": "skip_connect"}, ("ops=skip_connect", "a list of 6")),
        ({"ops": [*MIXED[:5], None]}, ("ops[5]=None",)),
        ({"ops": 6}, ("ops=6", "a list of 6")),
        ({}, ("got one without ops",)),
    ],
)
def test_bad_json_names_the_field(fields, words):
    """An unknown operation, a list of another length or none: told by name with what was wanted."""
    assert SPACE.from_json({"ops": list(MIXED)}) == CellArch(MIXED)
    with pytest.raises(spaces.InvalidArchitecture) as caught:
        SPACE.from_json(fields)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("size", [30, 2, 0])
def test_image_sizes_that_reductions_do_not_halve(size):
    for build in (
        partial(SPACE.model, SPACE.cheapest(), size),
        partial(SPACE.supernet, size),
        partial(SPACE.cost, SPACE.cheapest(), size),
    ):
        with pytest.raises(ValueError, match=f"multiple of 4.*image_size={size}"):
            build()
