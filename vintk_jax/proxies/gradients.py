"""Proxies of a network's gradients. All are sums over its weight matrices, so a masked supernet gives what the small model does."""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.proxies import weights
from vintk_jax.proxies.base import Measurement, Network, Proxy

_BATCHES = 2  # ZiCo's


def _gradients(net: Network) -> dict:
    return jax.grad(net.loss)(net.params, net.images, net.labels())


def first_order(net: Network) -> Float[Array, "2"]:
    """Two scores of one gradient of the loss; the higher the better (as proxies: Abdelfattah et al. 2021, arXiv 2101.08134).

    `grad_norm`, Euclidean norms added over layers, and `snip`, the sum of |weight x gradient| (SNIP, Lee et al. 2019, arXiv 1810.02340).
    """
    gradients = _gradients(net)
    norms = weights.total(lambda g: jnp.sqrt(jnp.sum(g * g, axis=(1, 2))), gradients)
    return jnp.stack([norms, weights.total(lambda w, g: jnp.sum(jnp.abs(w * g), axis=(1, 2)), net.params, gradients)])


def grasp(net: Network) -> Float[Array, ""]:
    """Minus the sum of weight x (Hessian gradient) (GraSP, Wang et al. 2020, arXiv 2002.07376, equation 8).

    As a proxy with this sign: Abdelfattah et al. 2021, arXiv 2101.08134. Higher is better.
    """
    images, labels = net.images, net.labels()
    gradient = lambda params: jax.grad(net.loss)(params, images, labels)
    first = gradient(net.params)
    along = jax.jvp(gradient, (net.params,), (_only_matrices(first),))[1]
    return weights.total(lambda w, h: -jnp.sum(w * h, axis=(1, 2)), net.params, along)


def _only_matrices(tree: dict) -> dict:
    """The tree with everything but weight matrices set to zero: the gradient that GraSP follows is theirs."""
    is_matrix = lambda path, leaf: path[-1].key == "kernel" and leaf.ndim >= 2
    return jax.tree_util.tree_map_with_path(lambda path, leaf: leaf if is_matrix(path, leaf) else jnp.zeros_like(leaf), tree)


def _linearised(net: Network) -> tuple[dict, dict]:
    """Absolute parameters, and the gradients of the summed logits of one image of ones with them (SynFlow's pass)."""
    positive = jax.tree.map(jnp.abs, net.params)
    ones = jnp.ones_like(net.images[:1])
    return positive, jax.grad(lambda params: jnp.sum(net.apply(params, ones)))(positive)


def synflow(net: Network) -> Float[Array, ""]:
    """Sum of |weight x gradient| with absolute parameters and an image of ones (SynFlow, Tanaka et al. 2020, arXiv 2006.05467).

    As a proxy: Abdelfattah et al. 2021, who leave batch normalisation out; our layer norms stay, as in TF-TAS. Higher is better.
    """
    positive, gradients = _linearised(net)
    return weights.total(lambda w, g: jnp.sum(jnp.abs(w * g), axis=(1, 2)), positive, gradients)


def zico(net: Network) -> Float[Array, ""]:
    """Sum over layers of log sum_w (mean |gradient| / its deviation) over two half batches (ZiCo, Li et al. 2023, arXiv 2301.11300).

    Weights whose gradients don't differ at all (dead ones) are left out, as in the authors' code. Higher is better.

    Raises:
        ValueError: for an odd number of images.
    """
    if net.images.shape[0] % _BATCHES:
        raise ValueError(f"zico halves the images; {net.images.shape[0]} came. Set inputs.num_images to an even number.")
    halves = lambda v: v.reshape(_BATCHES, -1, *v.shape[1:])
    by_batch = jax.lax.map(lambda batch: jax.grad(net.loss)(net.params, *batch), (halves(net.images), halves(net.labels())))
    first, second = (jax.tree.map(lambda g, i=i: g[i], by_batch) for i in range(_BATCHES))

    def of_layers(a, b):
        deviation = jnp.abs(a - b) / 2  # the standard deviation of two numbers
        ratio = jnp.where(deviation > 0, (jnp.abs(a) + jnp.abs(b)) / 2 / jnp.where(deviation > 0, deviation, 1), 0)
        summed = jnp.sum(ratio, axis=(1, 2))
        return jnp.where(summed > 0, jnp.log(jnp.where(summed > 0, summed, 1)), 0)

    return weights.total(of_layers, first, second)


def dss(net: Network) -> Float[Array, ""]:
    """Synaptic diversity of attention plus synaptic saliency of the MLPs (DSS, TF-TAS, Zhou et al. 2022, arXiv 2203.12217, eq. 6).

    For the query-key-value and the output matrices of attention, the nuclear norm of the weights times that of their gradients; for the
    other matrices the sum of |weight x gradient|; in SynFlow's pass. Higher is better.
    """
    rows = {}
    with nn.intercept_methods(_noting_rows(rows)):
        positive, gradients = _linearised(net)
    kernels, grads = weights.matrices(positive), weights.matrices(gradients)
    shares = []
    for path, g in grads.items():
        w = kernels[path]
        if "/attention" in path:
            alive = jnp.any(g != 0, axis=2, keepdims=True) & jnp.any(g != 0, axis=1, keepdims=True)
            shares.append(jnp.sum(_nuclear_norms(jnp.where(alive, w, 0)) * _nuclear_norms(g, rows.get(path))))
        else:
            shares.append(jnp.sum(jnp.abs(w * g)))
    return sum(shares)


def _noting_rows(rows: dict[str, int]) -> Callable:
    """An interceptor that notes, by the path of its kernel, on how many rows a linear layer was called."""

    def intercept(call, args, kwargs, context):
        if isinstance(context.module, nn.Dense) and context.method_name == "__call__":
            rows["/".join(("params", *context.module.path, "kernel"))] = math.prod(args[0].shape[:-1])
        return call(*args, **kwargs)

    return intercept


def _nuclear_norms(matrices: Float[Array, "layers a b"], rank: int | None = None) -> Float[Array, " layers"]:
    """Sums of singular values; of matrices that are sums of `rank` outer products, within the range that as many random vectors show (exactly)."""

    def norm(m):
        if rank is not None and rank < min(m.shape):
            shown = m @ jax.random.normal(jax.random.key(0), (m.shape[1], rank), m.dtype)
            m = jnp.linalg.qr(shown)[0].T @ m
        return jnp.sum(jnp.linalg.svd(m, compute_uv=False))

    # One matrix at a time: XLA's CPU client waits for ever on batched decompositions that run on several devices at once.
    return jax.lax.map(norm, matrices)


_FIRST_ORDER = Measurement("first_order", "network", first_order)

GRADIENT_PROXIES = (
    Proxy("grad_norm", (_FIRST_ORDER,), lambda measured: float(measured["first_order"][0])),
    Proxy("snip", (_FIRST_ORDER,), lambda measured: float(measured["first_order"][1])),
    *(Proxy.of_network(measure) for measure in (grasp, synflow, zico, dss)),
)
