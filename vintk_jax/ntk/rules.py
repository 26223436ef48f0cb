"""How each type of layer adds its share to the kernel: one rule per Linen module that owns
parameters.

A rule runs the layer and hands its share to the tap (`taps`). The method is this project's own;
that a layer's share is an inner product of its inputs and cotangents is classic (Goodfellow 2015,
arXiv 1510.01799, for norms; Novak et al. 2022, arXiv 2206.08720).

A new layer type takes `register(MyLayer, per_sample)`: exact for every layer that treats samples
independently, however often it uses its own parameters within one call, and cheap where it has few
of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vintk_jax.models import (
    attention,
    channel_norm,
    convolution,
    layers,
    patch_embed,
    pit,
    timesformer,
    windows,
)
from vintk_jax.ntk.layer_measures import Tap
from vintk_jax.ntk.taps import tap_copies, tap_depthwise, tap_linear

Rule = Callable[[nn.Module, Callable, tuple, dict, Tap], Any]


def per_sample(
    module: nn.Module,
    call: Callable,
    args: tuple,
    kwargs: dict,
    tap: Tap,
    further: tuple[int | str, ...] = (),
):
    """Rule for any layer that treats samples independently: each sample runs with its own copy of
    the parameters.

    Args:
        further: places or keywords of arguments that hold the samples on their first axis, beside
            the first argument, which always does; the others (grids, masks) are shared.
    """
    copies = tap_copies(module.variables["params"], tap)
    alone = module.clone(parent=None, name=None)

    def as_batch(leaf):
        return leaf[None]

    def one(params, x, more):
        def of_sample(place, argument):
            return jax.tree.map(as_batch, more[place]) if place in more else argument

        rest = [of_sample(place, argument) for place, argument in enumerate(args[1:], start=1)]
        named = {name: of_sample(name, argument) for name, argument in kwargs.items()}
        return alone.apply({"params": params}, x[None], *rest, **named)[0]

    more = {place: args[place] if isinstance(place, int) else kwargs[place] for place in further}
    return jax.vmap(one)(copies, args[0], more)


def norm(module: nn.Module, call: Callable, args: tuple, kwargs: dict, tap: Tap):
    """Rule for normalisations with a scale and a shift: over the last axis only these two are
    copied per sample.
    """
    x = args[0]
    if (
        getattr(module, "feature_axes", -1) != -1
        or getattr(module, "reduction_axes", -1) != -1
        or getattr(module, "variants", 0)
    ):
        return per_sample(module, call, args, kwargs, tap)
    without = {"use_scale": False}
    if hasattr(module, "use_bias"):
        without["use_bias"] = False
    plain = module.clone(parent=None, name=None, **without)
    y = plain.apply({}, *args, **kwargs)
    copies = tap_copies(module.variables["params"], tap)
    along = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
    mask = None
    if len(args) > 1:
        mask = args[1]
    elif isinstance(module, layers.LayerNorm):
        mask = kwargs.get("mask")
    if "scale" in copies:
        y = y * copies["scale"].reshape(along)
    if "bias" in copies:
        y = y + layers.masked(copies["bias"].reshape(along), mask)
    return y.astype(x.dtype)


def dense(module: nn.Dense | layers.Dense, call: Callable, args: tuple, kwargs: dict, tap: Tap):
    """Rule for linear layers: the cheaper contraction of its inputs and cotangents."""
    (x,) = args
    return tap_linear(call(*args, **kwargs), x, tap, module.use_bias)


def embed_patches(
    module: patch_embed.PatchEmbed, call: Callable, args: tuple, kwargs: dict, tap: Tap
):
    """Rule for `PatchEmbed`: linear in the stored kernel once the patches are expressed in its
    pixels.
    """
    images, grid = args
    patches = patch_embed.native_patches(images, grid, module.patch_size)
    return tap_linear(call(*args, **kwargs), patches, tap, True)


def conv(module: nn.Conv, call: Callable, args: tuple, kwargs: dict, tap: Tap):
    """Rule for `nn.Conv` on images: linear in the patches under the kernel; depth-wise ones by
    `depthwise`, other groups per sample.
    """
    two_sides = not isinstance(module.kernel_size, int) and len(module.kernel_size) == 2
    images = two_sides and args[0].ndim == 4
    named = module.padding in ("SAME", "VALID")
    padded = named or not isinstance(module.padding, str)
    if images and module.feature_group_count == args[0].shape[-1] > 1:
        return depthwise(module, call, args, kwargs, tap)
    if not images or module.feature_group_count != 1 or not padded or module.mask is not None:
        return per_sample(module, call, args, kwargs, tap)

    def pair(v):
        return (v, v) if isinstance(v, int) or v is None else tuple(v)

    rows = partial(
        convolution.patches,
        sides=tuple(module.kernel_size),
        strides=tuple(s or 1 for s in pair(module.strides)),
        padding=module.padding if named else tuple(pair(p) for p in pair(module.padding)),
        input_dilation=tuple(s or 1 for s in pair(module.input_dilation)),
        kernel_dilation=tuple(s or 1 for s in pair(module.kernel_dilation)),
    )
    return tap_linear(call(*args, **kwargs), args[0], tap, module.use_bias, rows)


def depthwise(module: nn.Conv, call: Callable, args: tuple, kwargs: dict, tap: Tap):
    """Rule for an `nn.Conv` with a group for each channel of its images: gradients by shifted
    products.
    """
    if (
        module.padding not in ("SAME", "VALID")
        or module.input_dilation not in (1, None)
        or module.mask is not None
    ):
        return per_sample(module, call, args, kwargs, tap)
    (x,) = args
    sides = tuple(module.kernel_size)

    def pair(v):
        if v is None:
            return (1, 1)
        return (v, v) if isinstance(v, int) else tuple(s or 1 for s in v)

    strides = pair(module.strides)
    dilation = pair(module.kernel_dilation)
    reach = [(side - 1) * apart + 1 for side, apart in zip(sides, dilation, strict=True)]
    around = jax.lax.padtype_to_pads(x.shape[1:3], reach, strides, module.padding)
    padded = jnp.pad(x, ((0, 0), *around, (0, 0)))
    options = (
        ("sides", sides),
        ("strides", strides),
        ("dilation", dilation),
        ("bias", module.use_bias),
    )
    return tap_depthwise(call(*args, **kwargs), padded, tap, options)


def pool(module: pit.DepthwisePool, call: Callable, args: tuple, kwargs: dict, tap: Tap):
    """Rule for `DepthwisePool`: each sample with a kernel of its own, nine numbers a channel."""
    copies = tap_copies(module.variables["params"], tap)
    return pit.depthwise_pool(args[0], copies["kernel"], copies["bias"], *args[1:], **kwargs)


_RULES: dict[type[nn.Module], Rule] = {
    nn.Dense: dense,
    layers.Dense: dense,
    nn.Conv: conv,
    patch_embed.PatchEmbed: embed_patches,
    pit.DepthwisePool: pool,
    nn.LayerNorm: norm,
    nn.RMSNorm: norm,
    channel_norm.ChannelNorm: norm,
    layers.LayerNorm: norm,
    **dict.fromkeys(
        [
            nn.GroupNorm,
            nn.Embed,
            nn.DenseGeneral,
            patch_embed.ClassToken,
            patch_embed.PositionEmbed,
            timesformer.SpaceTimePositions,
            attention.RelativeKeys,
            attention.RelativeValues,
            windows.RelativeBias,
        ],
        per_sample,
    ),
}


def register(module_type: type[nn.Module], rule: Rule) -> None:
    """Give a layer type its rule; subclasses need one of their own, since they may compute
    something else.
    """
    _RULES[module_type] = rule


def rule_for(module: nn.Module) -> Rule | None:
    """The rule of exactly this module's type, or None."""
    return _RULES.get(type(module))
