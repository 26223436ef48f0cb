"""The rule of each layer against the explicit Jacobian in float64, and against neural-tangents."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from one_layer import DIRECTION, Around, in_float64, normal, structured_kernel

from vintk_jax import ntk
from vintk_jax.models import attention, channel_norm, layers, patch_embed, pit, timesformer, windows
from vintk_jax.ntk import rules

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
    "our dense 3d, over gradients": (layers.Dense(3), (4, 7, 2)),
    "our dense 4d, no bias": (layers.Dense(3, use_bias=False), (4, 2, 3, 4)),
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

    for kernel in both(variables, x):
        assert relative_error(kernel, wanted) < 1e-5


def test_every_rule_has_a_case():
    """A rule that this file doesn't test fails here."""
    tested = {type(layer) for layer, *_ in LAYERS.values()} | {layers.LayerNorm}
    ours = {kind for kind in rules._RULES if kind.__module__.startswith(("flax.", "vintk_jax."))}
    assert ours <= tested, ours - tested


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
        normed = nn.LayerNorm(reduction_axes=(1, 2), feature_axes=(1, 2))(x)
        return normed.sum(1) ** 2 @ jnp.ones((x.shape[-1], 1))


@pytest.mark.parametrize("model", [Remat(), Attends(), NormOverTwoAxes()], ids=repr)
def test_linen_compositions(model, variables_for, jacobian_kernel, relative_error):
    """nn.remat around a layer, and Linen's own attention, made of layers with rules."""
    x = normal(4, 3, 4)
    variables = variables_for(model, x)
    wanted = jacobian_kernel(model.apply, variables, x, np.ones((4, 1)))
    assert relative_error(structured_kernel(model, variables, x), wanted) < 1e-5


def test_a_mask_given_by_name(variables_for, jacobian_kernel, relative_error):
    """LayerNorm(x, mask=m) keeps its dead columns at zero under its rule, as LayerNorm(x, m)
    does.
    """

    def one_more(x):
        return x + 1

    model = Around(nn.Sequential([MaskedNorm(named=True), one_more, nn.Dense(3)]))
    x = normal(4, 5)
    variables = variables_for(model, x)
    wanted = jacobian_kernel(model.apply, variables, x, np.ones((3, 1)))
    assert relative_error(structured_kernel(model, variables, x), wanted) < 1e-5


def test_a_masked_convolution(variables_for, jacobian_kernel, relative_error):
    """Linen's nn.Conv(mask=...): weights under zeros have no share."""
    mask = np.asarray(np.arange(24).reshape(2, 2, 2, 3) % 2, np.float32)
    model = Around(nn.Conv(3, (2, 2), mask=mask))
    x = normal(4, 3, 3, 2)
    variables = variables_for(model, x)
    wanted = jacobian_kernel(model.apply, variables, x, np.ones((3, 1)))
    assert relative_error(structured_kernel(model, variables, x), wanted) < 1e-5
