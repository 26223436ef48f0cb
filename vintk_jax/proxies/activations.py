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
from vintk_jax.proxies.base import Measured, Measurement, Network, Proxy
from vintk_jax.proxies.costs import COST_PROXIES
from vintk_jax.proxies.taps import hand_over, intercepting

_SLOT = "scale"  # the parameter of a block's second norm that carries the block's statistics out
_STATISTICS = 3  # alive, expressivity, trainability
_BLOCKS = (Block, WindowBlock, DividedBlock, FrameBlock)
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

    def outputs(tap):
        def act(module, call, args, kwargs):
            x, mask = into_activation(module, *args)
            positive = (x > 0).astype(x.dtype)
            codes = [masked(code, mask).reshape(n, -1) for code in (positive, 1 - positive)]
            return hand_over(call(*args, **kwargs), sum(code @ code.T for code in codes), tap)

        with nn.intercept_methods(intercepting((Mlp, ReluConvNorm), act)):
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

    slots, with_slots = _slots(net.params)
    if not slots:
        raise UserError(
            f"Expected a transformer for az_nas, got a {type(net.model).__name__}, which has no "
            "such blocks. Leave it out: name the other scores in --config.proxies."
        )

    def act(module, call, args, kwargs):
        return _handing_over_statistics(net.key, module, call, args, kwargs)

    def outputs(slots):
        with nn.intercept_methods(intercepting(_BLOCKS, act)):
            return net.apply(with_slots(slots), net.images)

    # The other parameters get no gradients, which nobody would read.
    logits, backward = jax.vjp(outputs, slots)
    (statistics,) = backward(jnp.zeros_like(logits))
    blocks = [of_path.reshape(-1, of_path.shape[-1])[:, :_STATISTICS] for of_path in statistics]
    return _over_blocks(jnp.concatenate(blocks))


def _slots(params: dict) -> tuple[list[Array], Callable[[list[Array]], dict]]:
    """The parameters that carry blocks' statistics out, in the order of the blocks; and the
    function from others in their places to all parameters.
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    by_path = {tuple(str(part.key) for part in path): leaf for path, leaf in leaves}
    paths = sorted((path for path in by_path if path[-2:] == ("norm2", _SLOT)), key=_by_number)

    def with_slots(slots):
        filled = {**by_path, **dict(zip(paths, slots, strict=True))}
        return tree.unflatten([filled[path] for path in by_path])

    return [by_path[path] for path in paths], with_slots


def _handing_over_statistics(
    key: jax.Array, module: nn.Module, call: Callable, args: tuple, kwargs: dict
) -> Float[Array, "n tokens embed"]:
    """A block's output; in the backward pass its three statistics go to its slot."""
    x, _, embed_mask, masks = (*args, None, None)[:4]
    variables = {"params": module.variables["params"]}
    alone = module.clone(parent=None, name=None)

    def run(x):
        return alone.apply(variables, x, *args[1:], **kwargs)

    y = call(*args, **kwargs)
    alive = jnp.ones(()) if masks is None else masks["alive"]
    trainability = _trainability(run, x, key, embed_mask)
    statistics = jnp.stack([alive, _entropy(y), trainability])
    slot = module.variables["params"]["norm2"][_SLOT]
    padded = jnp.pad(statistics, (0, slot.shape[0] - _STATISTICS))
    return hand_over(y, jax.lax.stop_gradient(padded), slot)


def _over_blocks(blocks: Float[Array, "blocks statistics"]) -> Float[Array, " numbers"]:
    """AZ-NAS's three numbers of a network, from the statistics of its blocks."""
    alive = blocks[:, 0] > 0
    entropy = blocks[:, 1]
    trainability = blocks[:, 2]
    # Dead blocks lie behind live ones of their stage, possibly ahead of the next stage's: compare
    # each live block with the live one before.
    order = jnp.argsort(~alive, stable=True)
    growth = jnp.diff(entropy[order])
    both_alive = alive[order][1:]
    progressivity = jnp.min(jnp.where(both_alive, growth, jnp.inf), initial=jnp.inf)
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


def _by_number(path: tuple[str, ...]) -> list[tuple[str, int]]:
    """Sorts block_2 ahead of block_10."""
    key = []
    for name in path:
        word = name.rstrip("0123456789")
        key.append((word, int("0" + name.removeprefix(word))))
    return key


def _join(numbers: Float[np.ndarray, "candidates numbers"]) -> Float[np.ndarray, " candidates"]:
    """AZ-NAS's aggregation: the sum of log(rank / candidates), rank 1 for the worst; equal values
    share their mean rank.
    """
    from scipy import stats

    return np.sum(np.log(stats.rankdata(numbers, axis=0) / len(numbers)), axis=1)


_FLOPS = next(proxy for proxy in COST_PROXIES if proxy.name == "flops").measurements[0]


def _az_nas_numbers(measured: Measured) -> list[float]:
    return [*map(float, measured["az_nas"]), math.log(measured["flops"])]


ACTIVATION_PROXIES = (
    Proxy.of_network(naswot, _naswot_score),
    Proxy(
        "az_nas",
        (Measurement("az_nas", "network", az_nas), _FLOPS),
        _az_nas_numbers,
        _join,
    ),
)
