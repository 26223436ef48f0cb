"""The structured kernel against the explicit Jacobian in float64, and against neural-tangents."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import ntk
from vintk_jax.models import attention, channel_norm, layers, patch_embed, pit, timesformer, windows
from vintk_jax.models.vit import ViT
from vintk_jax.ntk import rules, structured
from vintk_jax.ntk.structured import UnsupportedModel

F32 = np.dtype("float32")
F64 = np.dtype("float64")


class Around(nn.Module):
    """One layer, then a fixed nonlinear read-out: every parameter is the layer's, so that no other
    share dilutes a mistake.
    """

    layer: nn.Module
    args: tuple = ()
    integers: bool = False

    def __call__(self, x):
        y = self.layer(
            jnp.round(jnp.abs(3 * x)).astype(int) % 5 if self.integers else x, *self.args
        )
        y = y.reshape(x.shape[0], -1)
        return jnp.tanh(y) @ jnp.asarray(
            np.random.default_rng(0).standard_normal((y.shape[1], 3)), y.dtype
        )


MASK = (1.0, 1.0, 1.0, 0.0, 1.0)


class MaskedNorm(nn.Module):
    """Our LayerNorm with a mask, given by position or by name."""

    named: bool

    @nn.compact
    def __call__(self, x):
        mask = jnp.asarray(MASK, x.dtype)
        norm = layers.LayerNorm()
        return norm(x * mask, mask=mask) if self.named else norm(x * mask, mask)


# Few tokens of wide layers go over token pairs, many of narrow ones over gradients: both orders
# occur.
LAYERS = {
    "dense 2d": (nn.Dense(3), (5, 4)),
    "dense 3d, over gradients": (nn.Dense(3), (4, 7, 2)),
    "dense 3d, over tokens": (nn.Dense(9), (4, 2, 12)),
    "dense 4d, no bias": (nn.Dense(3, use_bias=False), (4, 2, 3, 4)),
    "conv": (nn.Conv(3, (3, 3)), (4, 5, 4, 2)),
    "conv, stride 2, valid, no bias": (
        nn.Conv(3, (2, 3), strides=2, padding="VALID", use_bias=False),
        (4, 6, 7, 2),
    ),
    "conv, dilated": (nn.Conv(3, (3, 2), kernel_dilation=2), (4, 6, 5, 2)),
    "conv, strides differ": (nn.Conv(3, (3, 3), strides=(1, 2)), (4, 5, 6, 2)),
    "conv, depth-wise": (nn.Conv(6, (3, 3), feature_group_count=3), (4, 4, 5, 3)),
    "conv, depth-wise, strided, valid, no bias": (
        nn.Conv(3, (2, 3), strides=(2, 1), padding="VALID", use_bias=False, feature_group_count=3),
        (4, 6, 5, 3),
    ),
    "conv, depth-wise, dilated": (
        nn.Conv(2, (3, 2), strides=2, kernel_dilation=(1, 2), feature_group_count=2),
        (4, 6, 5, 2),
    ),
    "conv, depth-wise, padding in numbers": (
        nn.Conv(2, (3, 3), padding=1, feature_group_count=2),
        (4, 4, 5, 2),
    ),
    "conv, in groups": (nn.Conv(4, (3, 3), feature_group_count=2), (4, 4, 5, 4)),
    "conv, padding in numbers": (nn.Conv(3, (3, 3), padding=1), (4, 4, 5, 2)),
    "conv, padding differs": (
        nn.Conv(3, (3, 2), strides=2, padding=((0, 2), (1, 0))),
        (4, 4, 5, 2),
    ),
    "conv, dilated input": (nn.Conv(3, (3, 3), input_dilation=(2, 1), padding=1), (4, 4, 5, 2)),
    "conv, one axis": (nn.Conv(3, (3,)), (4, 6, 2)),
    "layernorm, ours": (layers.LayerNorm(), (4, 3, 5)),
    "layernorm, ours, 2d": (layers.LayerNorm(), (4, 5)),
    "layernorm, ours, no scale": (layers.LayerNorm(use_scale=False), (4, 3, 5)),
    "layernorm, ours, masked": (MaskedNorm(named=False), (4, 3, 5)),
    "layernorm, flax": (nn.LayerNorm(), (4, 3, 5)),
    "layernorm, flax, no bias": (nn.LayerNorm(use_bias=False), (4, 2, 3, 5)),
    "rmsnorm": (nn.RMSNorm(), (4, 3, 5)),
    "groupnorm": (nn.GroupNorm(num_groups=2), (4, 3, 6)),
    "channel norm over places": (channel_norm.ChannelNorm("places"), (4, 3, 2, 3)),
    "channel norm over samples": (channel_norm.ChannelNorm("sample", use_bias=False), (4, 3, 2, 3)),
    "embed": (nn.Embed(5, 4), (6, 3)),
    "densegeneral": (nn.DenseGeneral((2, 3), axis=(-2, -1)), (4, 5, 3, 2)),
    "patch embedding": (patch_embed.PatchEmbed(4, 3), (4, 8, 8, 2), (2, 2)),
    "patch embedding, finer grid": (patch_embed.PatchEmbed(4, 3), (4, 8, 8, 2), (4, 2)),
    "patch embedding, coarser grid": (patch_embed.PatchEmbed(4, 3), (4, 12, 10, 2), (2, 1)),
    "class token": (patch_embed.ClassToken(), (4, 3, 5)),
    "positions": (patch_embed.PositionEmbed((2, 2)), (4, 5, 3), (2, 2)),
    "positions, other grid": (patch_embed.PositionEmbed((2, 2)), (4, 7, 3), (3, 2)),
    "depth-wise pooling": (pit.DepthwisePool(4), (3, 4, 5, 2)),
    "depth-wise pooling, masked": (
        pit.DepthwisePool(4),
        (3, 4, 5, 3),
        jnp.asarray([1.0, 1.0, 0.0]),
        jnp.asarray([1.0, 1.0, 0.0, 0.0]),
    ),
    "relative keys": (attention.RelativeKeys(2, 3), (4, 2, 7, 3), (2, 3)),
    "positions in space and time": (
        timesformer.SpaceTimePositions((2, 2), 3),
        (4, 9, 3),
        (2, 2),
        (0, 2),
    ),
    "positions of frames": (
        timesformer.SpaceTimePositions((2, 2), 3, True),
        (4, 10, 3),
        (2, 2),
        (0, 2),
    ),
    "relative bias of windows": (windows.RelativeBias(2), (4, 3, 2, 4, 4)),
    "relative values": (attention.RelativeValues(1, 3), (4, 2, 7, 7), (2, 3)),
}


def normal(*shape, seed=0):
    return jnp.asarray(np.float32(np.random.default_rng(seed).standard_normal(shape)))


DIRECTION = normal(3, 1, seed=1)


def structured_kernel(model, variables, x, **options):
    return jax.jit(lambda v, x: ntk.kernel(model, v, x, **options))(variables, x)


def unchecked_kernel(model, variables, x, directions):
    """The sum of shares of a model that `ntk.kernel` would refuse."""

    @jax.jit
    def run(v, x, d):
        unknown = structured.Structure(d.shape[:-1], {}, {})
        return structured.kernel(model.apply, v, x, d, unknown, F32)

    return run(variables, x, directions)


def in_float64(model, variables, x, **options):
    with jax.enable_x64(True):
        return np.asarray(
            structured_kernel(
                model,
                *jax.tree.map(lambda leaf: np.asarray(leaf, F64), (variables, x)),
                dtype=F64,
                **options,
            )
        )


@pytest.mark.parametrize("name", LAYERS)
def test_rule_equals_the_definition(name, variables_for, jacobian_kernel, relative_error):
    """Each layer's share: 1e-10 from the Jacobian in float64, 1e-5 in float32; neural-tangents
    agrees.
    """
    layer, shape, *args = LAYERS[name]
    model = Around(layer, tuple(args), integers=isinstance(layer, nn.Embed))
    x = normal(*shape)
    variables = variables_for(model, x)
    v = DIRECTION
    wanted = jacobian_kernel(model.apply, variables, x, v)
    assert relative_error(in_float64(model, variables, x, cotangent=v), wanted) < 1e-10

    @jax.jit
    def both(variables, x):
        return [
            ntk.kernel(model, variables, x, cotangent=v, implementation=implementation)
            for implementation in ("structured", "neural_tangents")
        ]

    for found in both(variables, x):
        assert relative_error(found, wanted) < 1e-5


def test_every_rule_has_a_case():
    """A rule that this file doesn't test fails here."""
    tested = {type(layer) for layer, *_ in LAYERS.values()} | {layers.LayerNorm}
    ours = {kind for kind in rules._RULES if kind.__module__.startswith(("flax.", "vintk_jax."))}
    assert ours <= tested, ours - tested


TINY = {
    "embed_dim": 12,
    "num_heads": (2, 2),
    "hidden": (18, 18),
    "head_dim": 6,
    "num_classes": 3,
    "patch_size": 8,
    "native_grid": (4, 4),
    "max_distance": 2,
}
IMAGES = normal(4, 32, 32, 3)
MASKS = {
    "embed": jnp.asarray(np.arange(12) < 9, jnp.float32),
    "alive": jnp.asarray([1.0, 0.0]),
    "heads": jnp.asarray([[1.0, 0.0], [0.0, 0.0]]),
    "hidden": jnp.asarray(np.arange(18) < np.array([[12], [0]]), jnp.float32),
}
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def vit_variables(variables_for):
    """Variables of the unrolled tiny ViT, none of them at a special value."""
    return variables_for(ViT(**TINY), IMAGES)


@pytest.fixture(scope="module")
def vit_jacobians(vit_variables, jacobian):
    """Jacobians of the unrolled ViT without and with masks: what every other form of it is held
    against.
    """
    model = ViT(**TINY)
    masks = {False: None, True: MASKS}
    return {
        name: jacobian(lambda v, x, m=m: model.apply(v, x, masks=m), vit_variables, IMAGES)
        for name, m in masks.items()
    }


def kernels_along(cotangents, model, masks):
    def run(v, x):
        return [
            ntk.kernel(model, v, x, cotangent=c, key=KEY, num_directions=2, masks=masks)
            for c in cotangents
        ]

    return run


@pytest.mark.parametrize(
    ("form", "masked", "cotangent"),
    [("unrolled", False, "full"), ("scanned", True, "random"), ("remat", True, "sum")],
)
def test_whole_vit(
    form,
    masked,
    cotangent,
    vit_variables,
    vit_jacobians,
    stack_blocks,
    jacobian_kernel,
    relative_error,
):
    """All layers together: unrolled, scanned, and scanned with recomputation are the definition,
    each for another cotangent, of which none knows the model.
    """
    model = ViT(**TINY, scan=form != "unrolled", remat=form == "remat")
    variables = vit_variables if form == "unrolled" else stack_blocks(vit_variables)
    run = jax.jit(kernels_along((cotangent,), model, MASKS if masked else None))
    wanted = jacobian_kernel(
        vit_jacobians[masked], None, None, ntk.directions(cotangent, (3,), KEY, 2)
    )
    assert relative_error(*run(variables, IMAGES), wanted) < 1e-5


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_whole_vit_in_float64(
    masked, vit_variables, vit_jacobians, stack_blocks, jacobian_kernel, relative_error
):
    """The scanned ViT differs from the definition by rounding alone."""
    model = ViT(**TINY, scan=True)
    v = DIRECTION
    got = in_float64(
        model, stack_blocks(vit_variables), IMAGES, cotangent=v, masks=MASKS if masked else None
    )
    assert relative_error(got, jacobian_kernel(vit_jacobians[masked], None, None, v)) < 1e-10


def test_neural_tangents_on_the_whole_vit(
    vit_variables, vit_jacobians, stack_blocks, jacobian_kernel, relative_error
):
    """Its Jacobian contraction, for the trace over outputs, on the masked scanned ViT."""
    model = ViT(**TINY, scan=True)
    variables = stack_blocks(vit_variables)
    got = structured_kernel(
        model, variables, IMAGES, cotangent="full", masks=MASKS, implementation="neural_tangents"
    )
    assert relative_error(got, jacobian_kernel(vit_jacobians[True], None, None, np.eye(3))) < 1e-5


# neural-tangents' own
@pytest.mark.filterwarnings("ignore:size requires ndarray:DeprecationWarning")
def test_neural_tangents_by_vector_products(variables_for, jacobian_kernel, relative_error):
    """Its other implementation, which needs no Jacobian."""
    model = Around(nn.Dense(4))
    x = normal(4, 3, 5)
    variables = variables_for(model, x)
    got = structured_kernel(
        model, variables, x, cotangent="full", implementation="neural_tangents_ntvp"
    )
    assert relative_error(got, jacobian_kernel(model.apply, variables, x, np.eye(3))) < 1e-5


def test_candidates_under_vmap_and_map(
    vit_variables, vit_jacobians, stack_blocks, jacobian_kernel, relative_error
):
    """Two candidates' masks through one compiled function: vmapped, mapped one after another, and
    each by the definition.
    """
    model = ViT(**TINY, scan=True)
    stacked = stack_blocks(vit_variables)
    both = jax.tree.map(lambda mask: np.stack([mask, np.ones_like(mask)]), MASKS)

    @jax.jit
    def in_both_ways(variables, x, both):
        def one(masks):
            return ntk.kernel(model, variables, x, masks=masks)

        return jax.vmap(one)(both), jax.lax.map(one, both)

    wanted = [
        jacobian_kernel(vit_jacobians[masked], None, None, np.ones((3, 1)))
        for masked in (True, False)
    ]
    for got in in_both_ways(stacked, IMAGES, both):
        assert relative_error(got[0], wanted[0]) < 1e-5
        assert relative_error(got[1], wanted[1]) < 1e-5  # masks of ones: the ordinary ViT


def test_chunks_give_the_same_kernel(variables_for, relative_error):
    """Two, three and one chunk; a chunk that doesn't divide the batch is refused."""
    model = Around(nn.Dense(4))
    x = normal(6, 3, 5)
    variables = variables_for(model, x)

    @jax.jit
    def run(variables, x):
        return [ntk.kernel(model, variables, x, chunk=chunk) for chunk in (None, 3, 2, 1, 6)]

    whole, *in_chunks = map(np.asarray, run(variables, x))
    for got in in_chunks:
        assert relative_error(got, whole) < 1e-5
        np.testing.assert_allclose(got, got.T, rtol=1e-5)
    with pytest.raises(ValueError, match="divisor of 6"):
        structured_kernel(model, variables, x, chunk=4)


class Remat(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.tanh(nn.remat(nn.Dense)(4)(jnp.tanh(nn.Dense(4)(x)))).sum(1)


class Attends(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.MultiHeadDotProductAttention(2)(x, x).mean(1)


class NormOverTwoAxes(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.LayerNorm(reduction_axes=(1, 2), feature_axes=(1, 2))(x).sum(1) ** 2 @ jnp.ones(
            (x.shape[-1], 1)
        )


@pytest.mark.parametrize(
    "model", [Remat(), Attends(), NormOverTwoAxes()], ids=lambda m: type(m).__name__
)
def test_linen_compositions(model, variables_for, jacobian_kernel, relative_error):
    """nn.remat around a layer, and Linen's own attention, made of layers with rules."""
    x = normal(4, 3, 4)
    variables = variables_for(model, x)
    assert (
        relative_error(
            structured_kernel(model, variables, x),
            jacobian_kernel(model.apply, variables, x, np.ones((4, 1))),
        )
        < 1e-5
    )


def test_outputs_of_more_than_one_axis(variables_for, jacobian_kernel, relative_error):
    """A map of outputs, as segmentation has it: every cotangent sums or averages over places and
    classes.
    """
    model = nn.Conv(2, (3, 3))
    x = normal(3, 3, 4, 2)
    variables = variables_for(model, x)
    got = jax.jit(kernels_along(ntk.COTANGENTS, model, None))(variables, x)
    for cotangent, k in zip(ntk.COTANGENTS, got, strict=True):
        wanted = jacobian_kernel(
            model.apply, variables, x, ntk.directions(cotangent, (3, 4, 2), KEY, 2)
        )
        assert relative_error(k, wanted) < 1e-5, cotangent


def test_directions():
    """Ones; unit vectors; normal ones whose expected outer product is the identity over K;
    refusals.
    """
    np.testing.assert_array_equal(ntk.directions("sum", (2, 3)), np.ones((2, 3, 1)))
    np.testing.assert_array_equal(ntk.directions("full", (2, 3)).reshape(6, 6), np.eye(6))
    v = np.asarray(ntk.directions("random", (4,), KEY, 40000))
    np.testing.assert_allclose(v @ v.T / 40000, np.eye(4) / 4, atol=0.01)
    with pytest.raises(ValueError, match="key"):
        ntk.directions("random", (4,))
    with pytest.raises(ValueError, match=r"'all'.*sum, random, full"):
        ntk.directions("all", (4,))
    with pytest.raises(ValueError, match="'magic'"):
        ntk.kernel(nn.Dense(2), {"params": {}}, jnp.ones((2, 2)), implementation="magic")


# Models that a sum of shares gets wrong, or that no rule covers.


class CalledTwice(nn.Module):
    @nn.compact
    def __call__(self, x):
        shared = nn.Dense(x.shape[-1], name="shared")
        return jnp.tanh(shared(jnp.tanh(shared(x))))


class OneStep(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return jnp.tanh(nn.Dense(x.shape[-1], name="shared")(x)), None


class SharedOverDepth(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.scan(
            OneStep, variable_broadcast="params", split_rngs={"params": False}, length=3
        )(name="loop")(x, None)[0]


class Tied(nn.Module):
    """A language model's weight tying: by `attend`, by the table itself, or by reading another
    module's variables.
    """

    by: str

    def setup(self):
        self.table = nn.Embed(5, 4)
        self.mix = nn.Dense(4)

    def __call__(self, x):
        h = jnp.tanh(self.mix(self.table(jnp.round(jnp.abs(3 * x)).astype(int) % 5).mean(1)))
        if self.by == "attend":
            return self.table.attend(h)
        return (
            h
            @ (
                self.table.embedding
                if self.by == "table"
                else self.table.variables["params"]["embedding"]
            ).T
        )


class NoRule(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.tanh(nn.Dense(3)(x)) * self.param("gate", nn.initializers.ones, (3,))


class Narrower(nn.Dense):
    """A subclass may compute something else, so the rule of its parent doesn't count."""


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.BatchNorm(use_running_average=True, name="batch_norm")(x))


REFUSED = {
    "a Dense called twice": (CalledTwice(), "shared", "2 times"),
    "a Dense shared over depth": (SharedOverDepth(), "loop/shared", "3 times"),
    "weights tied by attend": (Tied("attend"), "table", "attend"),
    "a parameter of one's own": (NoRule(), "top-level", "gate"),
    "a subclass": (nn.Sequential([Narrower(3)]), "layers_0", "no rule"),
    "batch normalisation": (Normalised(), "batch_norm", "no rule"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_module(name, variables_for):
    """Refused with the module and the reason, before anything is computed, and under jit too."""
    model, module, reason = REFUSED[name]
    x = normal(4, 3)
    variables = variables_for(model, x)
    for run in (ntk.kernel, lambda *args: jax.jit(lambda v, x: ntk.kernel(model, v, x))(*args[1:])):
        with pytest.raises(UnsupportedModel) as caught:
            run(model, variables, x)
        assert module in str(caught.value)
        assert reason in str(caught.value)


@pytest.mark.parametrize("by", ["table", "variables"])
def test_parameters_read_outside_their_rule_are_refused(
    by, variables_for, jacobian_kernel, relative_error
):
    """Tying that never calls a method of the tied module: the sum of shares is wrong, so the model
    is refused by name.
    """
    model = Tied(by)
    x = normal(4, 3)
    variables = variables_for(model, x)
    ones = np.ones((5, 1), np.float32)
    naive = unchecked_kernel(model, variables, x, ones)
    assert relative_error(naive, jacobian_kernel(model.apply, variables, x, ones)) > 0.01
    with pytest.raises(UnsupportedModel, match="table"):
        ntk.kernel(model, variables, x)


@pytest.mark.parametrize("name", ["a Dense called twice", "a Dense shared over depth"])
def test_without_the_check_the_sum_is_wrong(name, variables_for, jacobian_kernel, relative_error):
    """What the check is for: the shares of each use, added up, miss the cross terms;
    neural-tangents has them.
    """
    model = REFUSED[name][0]
    x = normal(4, 3)
    variables = variables_for(model, x)
    v = np.ones((3, 1), np.float32)
    wanted = jacobian_kernel(model.apply, variables, x, v)
    assert relative_error(unchecked_kernel(model, variables, x, v), wanted) > 0.01
    exact = structured_kernel(model, variables, x, implementation="neural_tangents")
    assert relative_error(exact, wanted) < 1e-5


class Twice(nn.Module):
    """A layer that uses its own parameters twice."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.normal(), (x.shape[-1],) * 2)
        return jnp.tanh(
            jnp.tanh(x @ w) @ w + self.param("b", nn.initializers.zeros, (x.shape[-1],))
        )


def test_a_registered_layer_may_use_its_parameters_twice(
    monkeypatch, variables_for, jacobian_kernel, relative_error
):
    """`per_sample` joins the uses within one call: refused before it is registered, exact after."""
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    model = Around(nn.Sequential([nn.Dense(4), Twice(), nn.Dense(2)]))
    x = normal(4, 3, 3)
    variables = variables_for(model, x)
    with pytest.raises(UnsupportedModel, match="layers_1"):
        ntk.kernel(model, variables, x)
    rules.register(Twice, rules.per_sample)
    wanted = jacobian_kernel(model.apply, variables, x, np.ones((3, 1)))
    assert relative_error(structured_kernel(model, variables, x), wanted) < 1e-5


def test_a_check_traces_a_layer_once(monkeypatch, variables_for):
    """Its second look, at what is read outside of layers, takes their shapes from the first."""
    traced = []

    class Counted(Twice):
        def __call__(self, x):
            traced.append(x.shape)
            return super().__call__(x)

    monkeypatch.setattr(rules, "_RULES", {**rules._RULES, Counted: rules.per_sample})
    model = Around(nn.Sequential([Counted(), nn.Dense(2), Counted()]))
    x = jnp.ones((4, 3, 3))
    variables = variables_for(model, x)
    traced.clear()
    assert structured.check(model.apply, variables, x).outputs == (3,)
    assert [shape[1:] for shape in traced] == [(3, 3), (3, 2)]


# Found wrong, silently, by these tests.


def test_a_mask_given_by_name(variables_for, jacobian_kernel, relative_error):
    """LayerNorm(x, mask=m) keeps its dead columns at zero under its rule, as LayerNorm(x, m)
    does.
    """
    model = Around(nn.Sequential([MaskedNorm(named=True), lambda x: x + 1, nn.Dense(3)]))
    x = normal(4, 5)
    variables = variables_for(model, x)
    assert (
        relative_error(
            structured_kernel(model, variables, x),
            jacobian_kernel(model.apply, variables, x, np.ones((3, 1))),
        )
        < 1e-5
    )


def test_a_masked_convolution(variables_for, jacobian_kernel, relative_error):
    """Linen's nn.Conv(mask=...): weights under zeros have no share."""
    model = Around(
        nn.Conv(3, (2, 2), mask=np.asarray(np.arange(24).reshape(2, 2, 2, 3) % 2, np.float32))
    )
    x = normal(4, 3, 3, 2)
    variables = variables_for(model, x)
    assert (
        relative_error(
            structured_kernel(model, variables, x),
            jacobian_kernel(model.apply, variables, x, np.ones((3, 1))),
        )
        < 1e-5
    )


class SamplesNotFirst(nn.Module):
    """A layer on (tokens, samples, features): with as many tokens as samples no shape tells."""

    @nn.compact
    def __call__(self, x):
        return jnp.tanh(nn.Dense(3, name="swapped")(x.swapaxes(0, 1))).mean(0)


@pytest.mark.parametrize("tokens", [4, 5])
def test_samples_on_another_axis_are_refused(tokens, variables_for):
    """A layer whose first axis isn't the samples is named."""
    x = normal(4, tokens, 2)
    with pytest.raises(UnsupportedModel, match="swapped"):
        ntk.kernel(SamplesNotFirst(), variables_for(SamplesNotFirst(), x), x)


def test_an_input_by_keyword_is_refused_with_what_to_do(variables_for):
    class ByKeyword(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2, name="last")(inputs=x)

    x = jnp.ones((2, 3))
    with pytest.raises(UnsupportedModel, match=r"last.*keyword.*by position"):
        structured_kernel(ByKeyword(), variables_for(ByKeyword(), x), x)
