"""Proxies of a network's gradients. All are sums over its weight matrices, so a masked supernet
gives what the small model does.
"""

import math
import operator
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.errors import UserError
from vintk_jax.models.layers import Dense
from vintk_jax.models.patch_embed import PatchEmbed
from vintk_jax.proxies import weights
from vintk_jax.proxies.base import Measured, Measurement, Network, Proxy
from vintk_jax.proxies.taps import intercepting


@jax.custom_vjp
def _fisher_tap(y: Array, tap: Array) -> Array:
    """y; in the backward pass its channels' Fisher information goes to the tap."""
    return y


def _fisher_fwd(y, tap):
    return y, y


def _fisher_bwd(y, d):
    of_channels = jnp.sum((y * d).reshape(y.shape[0], -1, y.shape[-1]), axis=1)
    return d, jnp.sum(jnp.mean(of_channels**2, axis=0)) / 2


_fisher_tap.defvjp(_fisher_fwd, _fisher_bwd)


def loss_gradients(net: Network) -> Float[Array, " scores"]:
    """Scores that are read off the loss's gradients, in one pass over two half batches; the higher
    the better.

    `grad_norm`: Euclidean norms, added over layers. `snip`: the sum of |weight x gradient| (Lee et
    al. 2019, arXiv 1810.02340). `fisher`: Fisher information of the channels of all linear layers
    and convolutions, for each half the mean over images of (sum over places of activation x
    gradient)^2 (Turner et al. 2020, arXiv 1906.04113). All three as proxies: Abdelfattah et al.
    2021, arXiv 2101.08134. `zico`, of an even number of images: the sum over layers of log sum_w
    (mean |gradient| / its deviation) over the halves (Li et al. 2023, arXiv 2301.11300); weights
    whose gradients don't differ at all (dead ones) are left out, as in the authors' code.
    """
    parts = 2 if net.images.shape[0] % 2 == 0 else 1

    def split(v):
        return v.reshape(parts, -1, *v.shape[1:])

    def loss(params, tap, images, labels):
        def act(module, call, args, kwargs):
            return _fisher_tap(call(*args, **kwargs), tap)

        with nn.intercept_methods(intercepting((nn.Dense, Dense, nn.Conv, PatchEmbed), act)):
            return net.loss(params, images, labels)

    def of_part(batch):
        return jax.grad(loss, argnums=(0, 1))(net.params, jnp.zeros(()), *batch)

    by_part, tapped = jax.lax.map(of_part, (split(net.images), split(net.labels())))
    gradients = jax.tree.map(partial(jnp.mean, axis=0), by_part)
    norms = weights.total(_norms, gradients)
    saliency = weights.total(_saliencies, net.params, gradients)
    # The loss of a part is a mean over fewer images, so its gradients are that many times as large.
    scores = [norms, saliency, jnp.mean(tapped) / parts**2]
    if parts == 2:
        halves = [jax.tree.map(operator.itemgetter(i), by_part) for i in (0, 1)]
        scores.append(weights.total(_steadiness, *halves))
    return jnp.stack(scores)


def _norms(g: Float[Array, "layers inputs outputs"]) -> Float[Array, " layers"]:
    """Euclidean norms."""
    return jnp.sqrt(jnp.sum(g * g, axis=(1, 2)))


def _saliencies(
    w: Float[Array, "layers inputs outputs"], g: Float[Array, "layers inputs outputs"]
) -> Float[Array, " layers"]:
    """Sums of |weight x gradient|."""
    return jnp.sum(jnp.abs(w * g), axis=(1, 2))


def _steadiness(
    a: Float[Array, "layers inputs outputs"], b: Float[Array, "layers inputs outputs"]
) -> Float[Array, " layers"]:
    """ZiCo's of each layer, from the gradients of two halves."""
    deviation = jnp.abs(a - b) / 2  # the standard deviation of two numbers
    ratio = jnp.where(
        deviation > 0, (jnp.abs(a) + jnp.abs(b)) / 2 / jnp.where(deviation > 0, deviation, 1), 0
    )
    summed = jnp.sum(ratio, axis=(1, 2))
    return jnp.where(summed > 0, jnp.log(jnp.where(summed > 0, summed, 1)), 0)


def grasp(net: Network) -> Float[Array, ""]:
    """Minus the sum of weight x (Hessian gradient) (GraSP, Wang et al. 2020, arXiv 2002.07376,
    equation 8).

    As a proxy with this sign: Abdelfattah et al. 2021, arXiv 2101.08134. Higher is better.
    """
    images = net.images
    labels = net.labels()

    def gradient(params):
        return jax.grad(net.loss)(params, images, labels)

    first = gradient(net.params)
    along = jax.jvp(gradient, (net.params,), (_only_matrices(first),))[1]

    def minus_products(w, h):
        return -jnp.sum(w * h, axis=(1, 2))

    return weights.total(minus_products, net.params, along)


def _only_matrices(tree: dict) -> dict:
    """The tree with everything but weight matrices set to zero: the gradient that GraSP follows is
    theirs.
    """

    def only_matrix(path, leaf):
        is_matrix = path[-1].key == "kernel" and leaf.ndim >= 2
        return leaf if is_matrix else jnp.zeros_like(leaf)

    return jax.tree_util.tree_map_with_path(only_matrix, tree)


def _linearised(net: Network) -> tuple[dict, dict]:
    """Absolute parameters, and the gradients of the summed logits of one image of ones with them
    (SynFlow's pass).
    """
    positive = jax.tree.map(jnp.abs, net.params)
    ones = jnp.ones_like(net.images[:1])

    def summed_logits(params):
        return jnp.sum(net.apply(params, ones))

    return positive, jax.grad(summed_logits)(positive)


def synflow(net: Network) -> Float[Array, ""]:
    """Sum of |weight x gradient| with absolute parameters and an image of ones (SynFlow, Tanaka et
    al. 2020, arXiv 2006.05467).

    As a proxy: Abdelfattah et al. 2021, who leave batch normalisation out; our layer norms stay, as
    in TF-TAS. Higher is better.
    """
    positive, gradients = _linearised(net)
    return weights.total(_saliencies, positive, gradients)


def dss(net: Network) -> Float[Array, ""]:
    """Synaptic diversity of attention plus synaptic saliency of the MLPs (DSS, TF-TAS, Zhou et al.
    2022, arXiv 2203.12217, eq. 6).

    For the query-key-value and the output matrices of attention, the nuclear norm of the weights
    times that of their gradients; for the other matrices the sum of |weight x gradient|; in
    SynFlow's pass. Higher is better.
    """
    rows = {}
    with nn.intercept_methods(_noting_rows(rows)):
        positive, gradients = _linearised(net)
    kernels = weights.matrices(positive)
    grads = weights.matrices(gradients)
    shares = []
    for path, g in grads.items():
        w = kernels[path]
        if "/attention" in path:
            alive = jnp.any(g != 0, axis=2, keepdims=True) & jnp.any(g != 0, axis=1, keepdims=True)
            of_weights = _nuclear_norms(jnp.where(alive, w, 0))
            shares.append(jnp.sum(of_weights * _nuclear_norms(g, rows.get(path))))
        else:
            shares.append(jnp.sum(jnp.abs(w * g)))
    return sum(shares)


def _noting_rows(rows: dict[str, int]) -> Callable:
    """An interceptor that notes, by the path of its kernel, on how many rows a linear layer was
    called.
    """

    def intercept(call, args, kwargs, context):
        if isinstance(context.module, (nn.Dense, Dense)) and context.method_name == "__call__":
            rows["/".join(("params", *context.module.path, "kernel"))] = math.prod(
                args[0].shape[:-1]
            )
        return call(*args, **kwargs)

    return intercept


def _nuclear_norms(
    matrices: Float[Array, "layers a b"], rank: int | None = None
) -> Float[Array, " layers"]:
    """Sums of singular values; of matrices that are sums of `rank` outer products, within the range
    that as many random vectors show (exactly).
    """

    def norm(m):
        if rank is not None and rank < min(m.shape):
            shown = m @ jax.random.normal(jax.random.key(0), (m.shape[1], rank), m.dtype)
            m = jnp.linalg.qr(shown)[0].T @ m
        return jnp.sum(jnp.linalg.svd(m, compute_uv=False))

    # One matrix at a time: XLA's CPU client waits for ever on batched decompositions that run on
    # several devices at once.
    return jax.lax.map(norm, matrices)


_LOSS = Measurement("loss_gradients", "network", loss_gradients)


def _of_loss(name: str, place: int) -> Proxy:
    def score(measured: Measured) -> float:
        return float(measured["loss_gradients"][place])

    return Proxy(name, (_LOSS,), score)


def _zico(measured: Measured) -> float:
    scores = measured["loss_gradients"]
    if len(scores) < 4:
        raise UserError(
            "Expected an even number of images for zico, which halves them, got an odd one. Set "
            "inputs.num_images to an even number."
        )
    return float(scores[3])


GRADIENT_PROXIES = (
    *(_of_loss(name, place) for place, name in enumerate(("grad_norm", "snip", "fisher"))),
    Proxy("zico", (_LOSS,), _zico),
    *(Proxy.of_network(measure) for measure in (grasp, synflow, dss)),
)
