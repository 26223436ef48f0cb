"""How each type of layer adds its share to the kernel: one rule per Linen module that owns
parameters.

A rule runs the layer and hands its share to the *tap*, an argument on which no output depends in
value: a `custom_vjp` identity passes the cotangent through and gives the layer's measure, usually
the n x n Gram matrix of its gradients, to the tap as the tap's cotangent. The gradient with respect
to the tap is then the sum of all shares, the kernel, and no parameter gradient is ever formed; with
a tap for each layer the shares stay apart. The method is this project's own; that a layer's share
is an inner product of its inputs and cotangents is classic (Goodfellow 2015, arXiv 1510.01799, for
norms; Novak et al. 2022, arXiv 2206.08720).

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
from jaxtyping import Array, Float, PyTree

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
from vintk_jax.ntk.measures import Tap

Rule = Callable[[nn.Module, Callable, tuple, dict, Tap], Any]


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def tap_linear(
    y: Float[Array, "n *out b"],
    x: Float[Array, "n *in a"],
    tap: Tap,
    bias: bool,
    rows: Callable[[Array], Array] = lambda x: x,
) -> Float[Array, "n *out b"]:
    """y = rows(x) W (+ bias), unchanged; in the backward pass the layer's measure goes to the tap.

    Args:
        rows: what W multiplies, formed in the backward pass only: patches under a kernel take many
            times the memory of their image.
    """
    return y


def _tap_linear_bwd(bias, rows, residuals, d):
    x, tap = residuals
    x = rows(x)
    x = x.reshape(x.shape[0], -1, x.shape[-1]).astype(tap.dtype)
    wide = d.reshape(d.shape[0], -1, d.shape[-1]).astype(tap.dtype)
    return d, None, tap.taking(tap.measure.linear(x, wide, bias=bias))


tap_linear.defvjp(lambda y, x, tap, bias, rows: (y, (x, tap)), _tap_linear_bwd)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def tap_depthwise(
    y: Float[Array, "n *out b"],
    x: Float[Array, "n *in a"],
    tap: Tap,
    options: tuple[tuple[str, Any], ...],
) -> Float[Array, "n *out b"]:
    """The depth-wise convolution y of a padded x, unchanged; in the backward pass its measure goes
    to the tap (see `contractions.depthwise_gram`).
    """
    return y


def _tap_depthwise_bwd(options, residuals, d):
    x, tap = residuals
    share = tap.measure.depthwise(x.astype(tap.dtype), d.astype(tap.dtype), dict(options))
    return d, None, tap.taking(share)


tap_depthwise.defvjp(lambda y, x, tap, options: (y, (x, tap)), _tap_depthwise_bwd)


@jax.custom_vjp
def tap_copies(parameters: PyTree[Float[Array, "..."]], tap: Tap) -> PyTree[Float[Array, "n ..."]]:
    """One copy of each parameter per sample; the copies' cotangents are the per-sample gradients,
    whose measure goes to the tap.
    """
    return jax.tree.map(lambda p: jnp.broadcast_to(p, (tap.samples, *p.shape)), parameters)


def _tap_copies_bwd(tap, copies):
    gradients = [g.astype(tap.dtype) for g in jax.tree.leaves(copies)]
    return None, tap.taking(tap.measure.gradients(gradients))


tap_copies.defvjp(lambda parameters, tap: (tap_copies(parameters, tap), tap), _tap_copies_bwd)


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

    def one(params, x, more):
        def kept(place, argument):
            return jax.tree.map(lambda leaf: leaf[None], more[place]) if place in more else argument

        rest = [kept(place, argument) for place, argument in enumerate(args[1:], start=1)]
        named = {name: kept(name, argument) for name, argument in kwargs.items()}
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
    plain = module.clone(
        parent=None,
        name=None,
        use_scale=False,
        **({"use_bias": False} if hasattr(module, "use_bias") else {}),
    )
    y = plain.apply({}, *args, **kwargs)
    copies = tap_copies(module.variables["params"], tap)
    along = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
    mask = (
        args[1]
        if len(args) > 1
        else kwargs.get("mask")
        if isinstance(module, layers.LayerNorm)
        else None
    )
    if "scale" in copies:
        y = y * copies["scale"].reshape(along)
    if "bias" in copies:
        y = y + layers.masked(copies["bias"].reshape(along), mask)
    return y.astype(x.dtype)


def dense(module: nn.Dense, call: Callable, args: tuple, kwargs: dict, tap: Tap):
    """Rule for `nn.Dense`: the cheaper contraction of its inputs and cotangents."""
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
    images = (
        not isinstance(module.kernel_size, int)
        and len(module.kernel_size) == 2
        and args[0].ndim == 4
    )
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
        return (v, v) if isinstance(v, int) else (1, 1) if v is None else tuple(s or 1 for s in v)

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
