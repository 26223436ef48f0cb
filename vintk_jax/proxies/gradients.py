"""Proxies of a network's gradients. All are sums over its weight matrices, so a masked supernet gives what the small model does."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.proxies import weights
from vintk_jax.proxies.base import Network, Proxy

_BATCHES = 2  # ZiCo's


def _gradients(net: Network) -> dict:
    return jax.grad(net.loss)(net.params, net.images, net.labels())


def grad_norm(net: Network) -> Float[Array, ""]:
    """Euclidean norms of the loss's gradients, added over layers (Abdelfattah et al. 2021, arXiv 2101.08134). Higher is better."""
    return weights.total(lambda g: jnp.sqrt(jnp.sum(g * g, axis=(1, 2))), _gradients(net))


def snip(net: Network) -> Float[Array, ""]:
    """Sum of |weight x gradient| (SNIP, Lee et al. 2019, arXiv 1810.02340, as a proxy: Abdelfattah et al. 2021). Higher is better."""
    return weights.total(lambda w, g: jnp.sum(jnp.abs(w * g), axis=(1, 2)), net.params, _gradients(net))


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
    positive, gradients = _linearised(net)
    kernels, grads = weights.matrices(positive), weights.matrices(gradients)
    # One matrix at a time: XLA's CPU client waits for ever on batched decompositions that run on several devices at once.
    nuclear = lambda ms: jax.lax.map(lambda m: jnp.sum(jnp.linalg.svd(m, compute_uv=False)), ms)
    shares = []
    for path, g in grads.items():
        w = kernels[path]
        if "/attention" in path:
            alive = jnp.any(g != 0, axis=2, keepdims=True) & jnp.any(g != 0, axis=1, keepdims=True)
            shares.append(jnp.sum(nuclear(jnp.where(alive, w, 0)) * nuclear(g)))
        else:
            shares.append(jnp.sum(jnp.abs(w * g)))
    return sum(shares)


GRADIENT_PROXIES = tuple(Proxy.of_network(measure) for measure in (grad_norm, snip, grasp, synflow, zico, dss))
