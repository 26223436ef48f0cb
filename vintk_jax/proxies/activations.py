"""Proxies of what happens inside a network, whose layers are tapped (`taps`)."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from vintk_jax.errors import UserError
from vintk_jax.models.blocks import Block
from vintk_jax.models.cells import ReluConvNorm
from vintk_jax.models.clip_blocks import DividedBlock, FrameBlock
from vintk_jax.models.layers import Mlp, masked
from vintk_jax.models.swin import WindowBlock
from vintk_jax.proxies.base import Measurement, Network, Proxy
from vintk_jax.proxies.costs import COST_PROXIES
from vintk_jax.proxies.taps import hand_over, intercepting

_SLOT = "scale"  # the parameter of a block's second norm that carries the block's statistics out
_STATISTICS = 3  # alive, expressivity, trainability
_EPSILON = 1e-8  # within AZ-NAS's logarithm


def naswot(net: Network) -> Float[Array, "n n"]:
    """The Hamming kernel of the activation codes: units on which two images agree (NASWOT, Mellor
    et al. 2021, arXiv 2006.04647).

    A code is the sign of what goes into the ReLU ahead of each convolution of a cell network, for
    every channel and place, as in the source; in a ViT of what goes into GELU, for every hidden
    unit of every token, which is our choice. The score is the kernel's log-determinant; higher is
    better.
    """
    n = net.images.shape[0]

    def into_activation(module, x, mask=None, hidden_mask=None):
        if isinstance(module, ReluConvNorm):
            return x, None if mask is None else jnp.broadcast_to(mask, x.shape[-1:])
        first = module.variables["params"]["fc1"]
        return x @ first["kernel"] + first["bias"], hidden_mask

    def act(tap):
        def of_layer(module, call, args, kwargs):
            x, mask = into_activation(module, *args)
            positive = (x > 0).astype(x.dtype)
            codes = [masked(code, mask).reshape(n, -1) for code in (positive, 1 - positive)]
            return hand_over(call(*args, **kwargs), sum(code @ code.T for code in codes), tap)

        return of_layer

    def outputs(tap):
        with nn.intercept_methods(intercepting((Mlp, ReluConvNorm), act(tap))):
            return net.apply(net.params, net.images)

    logits, backward = jax.vjp(outputs, jnp.zeros((n, n)))
    return backward(jnp.zeros_like(logits))[0]


def _naswot_score(kernel: Float[np.ndarray, "n n"]) -> float:
    return float(np.linalg.slogdet(np.asarray(kernel, np.float64))[1])


def _entropy(y: Float[Array, "n tokens embed"]) -> Float[Array, ""]:
    """Entropy of the normalised principal components of a block's output tokens."""
    tokens = y.reshape(-1, y.shape[-1])
    tokens = tokens - jnp.mean(tokens, axis=0)
    values = jnp.maximum(jnp.linalg.eigvalsh(tokens.T @ tokens / tokens.shape[0]), 0)
    share = values / jnp.maximum(jnp.sum(values), _EPSILON)
    return -jnp.sum(share * jnp.log(share + _EPSILON))


def _trainability(
    run: Callable, x: Float[Array, "n tokens embed"], key: jax.Array, mask
) -> Float[Array, ""]:
    """2 - s - 1/s for the largest singular value s of a block's Jacobian, estimated from a random
    cotangent of signs.
    """
    cotangent = masked(jax.random.rademacher(key, x.shape, x.dtype), mask)
    (back,) = jax.vjp(run, x)[1](cotangent)
    matrix = jnp.mean(jnp.einsum("nta,ntb->nab", back, cotangent) / x.shape[1], axis=0)
    largest = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(matrix.T @ matrix)[-1], 0))
    return 2 - largest - 1 / (largest + 1e-6)


def az_nas(net: Network) -> Float[Array, " statistics"]:
    """Expressivity, progressivity and trainability of the blocks (AZ-NAS, Lee and Ham 2024, arXiv
    2403.19232).

    Expressivity: entropy of the principal components of a block's output, summed over blocks;
    progressivity: its smallest growth from block to block; trainability: how near to one the gain
    of a block's backward pass is, averaged. With multiply-adds for complexity, the score is the sum
    over the four of log(rank / candidates): it is known only among candidates. Higher is better. A
    block's Jacobian is taken by itself, and stages' poolings are passed over.

    Raises:
        UserError: for a network without transformer blocks.
    """

    def act(module, call, args, kwargs):
        x, _, embed_mask, masks = (*args, None, None)[:4]
        variables = {"params": module.variables["params"]}
        alone = module.clone(parent=None, name=None)
        y = call(*args, **kwargs)
        alive = jnp.ones(()) if masks is None else masks["alive"]
        trainability = _trainability(
            lambda x: alone.apply(variables, x, *args[1:], **kwargs), x, net.key, embed_mask
        )
        slot = module.variables["params"]["norm2"][_SLOT]
        statistics = jnp.pad(
            jnp.stack([alive, _entropy(y), trainability]), (0, slot.shape[0] - _STATISTICS)
        )
        return hand_over(y, jax.lax.stop_gradient(statistics), slot)

    leaves, tree = jax.tree_util.tree_flatten_with_path(net.params)
    paths = [tuple(str(part.key) for part in path) for path, _ in leaves]
    places = sorted(
        (i for i, path in enumerate(paths) if path[-2:] == ("norm2", _SLOT)),
        key=lambda i: _by_number(paths[i]),
    )

    def outputs(slots):
        filled = dict(zip(places, slots, strict=True))
        params = tree.unflatten([filled.get(i, leaf) for i, (_, leaf) in enumerate(leaves)])
        with nn.intercept_methods(
            intercepting((Block, WindowBlock, DividedBlock, FrameBlock), act)
        ):
            return net.apply(params, net.images)

    # The other parameters get no gradients, which nobody would read.
    logits, backward = jax.vjp(outputs, [leaves[i][1] for i in places])
    (slots,) = backward(jnp.zeros_like(logits))
    if not slots:
        raise UserError(
            f"az_nas reads the blocks of a transformer, and a {type(net.model).__name__} has none. "
            "Leave it out: name the other scores "
            "in --config.proxies."
        )
    blocks = jnp.concatenate([slot.reshape(-1, slot.shape[-1])[:, :_STATISTICS] for slot in slots])
    alive = blocks[:, 0] > 0
    entropy = blocks[:, 1]
    trainability = blocks[:, 2]
    # Dead blocks lie behind live ones of their stage, possibly ahead of the next stage's: compare
    # each live block with the live one before.
    order = jnp.argsort(~alive, stable=True)
    growth = jnp.diff(entropy[order])
    both = alive[order][1:]
    progressivity = jnp.min(jnp.where(both, growth, jnp.inf), initial=jnp.inf)
    count = jnp.maximum(jnp.sum(alive), 1)

    def summed(values):
        return jnp.sum(jnp.where(alive, values, 0))

    return jnp.stack(
        [
            summed(entropy),
            jnp.where(jnp.isfinite(progressivity), progressivity, 0),
            summed(trainability) / count,
        ]
    )


def _by_number(path: tuple[str, ...]) -> list:
    """Sorts block_2 ahead of block_10."""
    return [
        (name.rstrip("0123456789"), int("0" + name[len(name.rstrip("0123456789")) :]))
        for name in path
    ]


def _join(numbers: Float[np.ndarray, "candidates numbers"]) -> Float[np.ndarray, " candidates"]:
    """AZ-NAS's aggregation: the sum of log(rank / candidates), rank 1 for the worst; equal values
    share their mean rank.
    """
    from scipy import stats

    return np.sum(np.log(stats.rankdata(numbers, axis=0) / len(numbers)), axis=1)


_FLOPS = next(proxy for proxy in COST_PROXIES if proxy.name == "flops").measurements[0]

ACTIVATION_PROXIES = (
    Proxy.of_network(naswot, _naswot_score),
    Proxy(
        "az_nas",
        (Measurement("az_nas", "network", az_nas), _FLOPS),
        lambda measured: [*map(float, measured["az_nas"]), math.log(measured["flops"])],
        _join,
    ),
)
