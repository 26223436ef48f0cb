"""Proxies of the untrained network, each against its definition."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from measured_together import ARCH, IMAGES, MEASUREMENTS, MINI, NAMES, together
from trees import float64

from vintk_jax import proxies
from vintk_jax.models.blocks import Block
from vintk_jax.proxies import weights
from vintk_jax.proxies.base import Network


def test_every_proxy_of_a_network_is_tested_here():
    """A new one fails here until it has a case."""
    of_networks = {
        name
        for name in proxies.names()
        if any(m.of == "network" for m in proxies.get(name).measurements)
    }
    assert of_networks == set(NAMES)


MODEL = MINI.model(ARCH, 32, num_classes=5)
KEY = jax.random.key(1)


@pytest.fixture(scope="module")
def net(variables_for):
    """A small unrolled model with weights of which none is special."""
    return Network(
        MODEL,
        variables_for(MODEL, jnp.asarray(IMAGES), size=0.2),
        jnp.asarray(IMAGES),
        None,
        5,
        KEY,
    )


@pytest.fixture(scope="module")
def measured(net):
    """Every measurement of the model, in float64 and by name, by the one compiled function."""
    run = together(MODEL, frozenset(m.name for m in MEASUREMENTS))
    return {
        name: np.asarray(value, np.float64)
        for name, value in run(net.params, net.images, KEY).items()
    }


@pytest.fixture(scope="module")
def inside(net):
    """Outputs of the position embedding, of each block and of each block's first linear layer, as
    Linen captures them, by path.
    """

    def wanted(module, method):
        return method == "__call__" and (
            module.name in ("positions", "fc1") or isinstance(module, Block)
        )

    @jax.jit
    def run(params, images):
        return MODEL.apply(params, images, capture_intermediates=wanted)[1]["intermediates"]

    return {
        "/".join(path[:-1]): output[0]
        for path, output in flatten_dict(run(net.params, net.images)).items()
    }


@pytest.fixture(scope="module")
def layers(net):
    """A function (tree) -> weight matrices by layer, as NumPy arrays in float64."""

    def listed(tree):
        flat = {
            "/".join(str(p.key) for p in path): np.asarray(leaf, np.float64)
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }
        return {
            path: leaf.reshape(-1, leaf.shape[-1])
            for path, leaf in flat.items()
            if path.endswith("kernel")
        }

    assert len(listed(net.params)) == 2 + 4 * 2  # patch embedding, head, four in each of two blocks
    return listed


@pytest.fixture(scope="module")
def gradient(net):
    """A function (params, shares) -> gradients of the cross-entropies' sum, each times its image's
    share, written out anew, in float64.
    """

    def loss(params, images, labels, shares):
        logits = MODEL.apply(params, images)
        wanted = jnp.sum(logits * jax.nn.one_hot(labels, 5), axis=-1)
        return jnp.sum(shares * (jax.nn.logsumexp(logits, axis=-1) - wanted))

    compiled = jax.jit(jax.grad(loss))
    labels = np.asarray(net.labels())

    def run(params, shares):
        params, images, shares = float64((params, net.images, np.asarray(shares)))
        with jax.enable_x64(True):
            return jax.tree.map(np.asarray, compiled(params, images, labels, shares))

    return run


MEAN = (0.25,) * 4


def score(name, measured):
    """Of a proxy that has one measurement."""
    return proxies.get(name).score(measured)


def test_gradient_norm_and_snip(net, measured, layers, gradient):
    """From the gradients, layer by layer."""
    g = layers(gradient(net.params, MEAN))
    w = layers(net.params)
    np.testing.assert_allclose(
        score("grad_norm", measured), sum(np.linalg.norm(v) for v in g.values()), rtol=1e-4
    )
    np.testing.assert_allclose(
        score("snip", measured), sum(np.abs(w[path] * g[path]).sum() for path in g), rtol=1e-4
    )


def test_grasp(net, measured, layers, gradient):
    """The Hessian times the gradient by central differences of gradients in float64."""
    params = float64(net.params)

    def only_kernels(path, leaf):
        return leaf if path[-1].key == "kernel" else np.zeros_like(leaf)

    along = jax.tree_util.tree_map_with_path(only_kernels, gradient(params, MEAN))
    step = 1e-5

    def gradient_at(distance):
        def moved(leaf, direction):
            return leaf + distance * direction

        return gradient(jax.tree.map(moved, params, along), MEAN)

    def slope(ahead, behind):
        return (ahead - behind) / (2 * step)

    hessian = jax.tree.map(slope, gradient_at(step), gradient_at(-step))
    wanted = -sum((layers(params)[path] * h).sum() for path, h in layers(hessian).items())
    np.testing.assert_allclose(measured["grasp"], wanted, rtol=1e-3)


def test_zico(net, measured, layers, gradient):
    """NumPy's mean and standard deviation over the two halves, layer by layer."""
    halves = [
        layers(gradient(net.params, shares)) for shares in ((0.5, 0.5, 0, 0), (0, 0, 0.5, 0.5))
    ]
    wanted = 0.0
    for path in halves[0]:
        both = np.stack([half[path] for half in halves]).astype(np.float32)
        deviation = both.std(0)
        mean = np.abs(both).mean(0)
        wanted += np.log((mean[deviation > 0] / deviation[deviation > 0]).sum())
    np.testing.assert_allclose(score("zico", measured), wanted, rtol=1e-2)


def test_synflow_and_dss(net, measured, layers):
    """Gradients of the summed logits with absolute weights at an image of ones; nuclear norms from
    NumPy's singular values.
    """
    positive = jax.tree.map(np.abs, jax.device_get(net.params))
    ones = np.ones((1, 32, 32, 3), np.float32)

    @jax.jit
    @jax.grad
    def run(params, x):
        return MODEL.apply(params, x).sum()

    g = layers(run(positive, ones))
    w = layers(positive)
    np.testing.assert_allclose(
        measured["synflow"], sum(np.abs(w[path] * g[path]).sum() for path in g), rtol=1e-3
    )

    def nuclear(m):
        return np.linalg.svd(m, compute_uv=False).sum()

    wanted = sum(
        nuclear(w[p]) * nuclear(g[p]) if "/attention/" in p else np.abs(w[p] * g[p]).sum()
        for p in g
    )
    np.testing.assert_allclose(measured["dss"], wanted, rtol=1e-3)


class TwoLayers(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(5, use_bias=False, name="b")(
            jnp.tanh(nn.Dense(5, use_bias=False, name="a")(x)).mean(1)
        )


@pytest.mark.parametrize("count", [4, 3], ids=["two halves", "one part"])
def test_two_layers_by_hand(count):
    """Fisher's activations and gradients of two layers, and the norm of the weights' gradients,
    written out; all but ZiCo take an odd number of images.
    """
    rng = np.random.default_rng(0)
    x, a, b = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((count, 6, 3), (3, 5), (5, 5))
    )
    params = {"params": {"a": {"kernel": a}, "b": {"kernel": b}}}
    labels = np.asarray(Network(TwoLayers(), params, jnp.asarray(x), None, 5, KEY).labels())
    measured = jax.device_get(together(TwoLayers(), frozenset({"loss_gradients"}))(params, x, KEY))
    x, a, b = (np.asarray(v, np.float64) for v in (x, a, b))
    ya = x @ a
    yb = np.tanh(ya).mean(1) @ b
    p = np.exp(yb - yb.max(1, keepdims=True))
    db = (p / p.sum(1, keepdims=True) - np.eye(5)[labels]) / count
    da = (db @ b.T)[:, None] / 6 * (1 - np.tanh(ya) ** 2)
    wanted = sum(
        0.5 * ((y * d).reshape(count, -1, 5).sum(1) ** 2).mean(0).sum()
        for y, d in ((ya, da), (yb, db))
    )
    np.testing.assert_allclose(score("fisher", measured), wanted, rtol=1e-4)
    of_weights = (np.einsum("nti,nto->io", x, da), np.tanh(ya).mean(1).T @ db)
    np.testing.assert_allclose(
        score("grad_norm", measured), sum(map(np.linalg.norm, of_weights)), rtol=1e-4
    )
    if count % 2:
        with pytest.raises(ValueError, match="num_images to an even number"):
            score("zico", measured)
    else:
        assert np.isfinite(score("zico", measured))


def test_naswot(measured, inside):
    """Pairs of images compared unit by unit, from the layers' outputs as Linen captures them."""
    outputs = [output for path, output in inside.items() if path.endswith("fc1")]
    assert len(outputs) == 2
    codes = np.concatenate([np.asarray(output).reshape(4, -1) > 0 for output in outputs], axis=1)
    agree = np.array([[np.sum(one == other) for other in codes] for one in codes], float)
    np.testing.assert_array_equal(measured["naswot"], agree)
    assert score("naswot", measured) == pytest.approx(np.log(np.linalg.det(agree)))


def test_az_nas(net, measured, inside):
    """Blocks' outputs as Linen captures them, singular values from NumPy, the block's Jacobian in
    full.
    """
    outputs = [np.asarray(inside[f"block_{i}"], np.float64) for i in range(2)]
    entropies = []
    for y in outputs:
        flat = y.reshape(-1, y.shape[-1])
        values = np.linalg.svd(flat - flat.mean(0), compute_uv=False) ** 2
        share = values / values.sum()
        entropies.append(-np.sum(share * np.log(share + 1e-8)))
    np.testing.assert_allclose(
        measured["az_nas"][:2], [sum(entropies), entropies[1] - entropies[0]], rtol=1e-3, atol=1e-4
    )

    @jax.jit
    def jacobians(params, inputs):
        blocks = [Block(ARCH.num_heads[i], 64, ARCH.hidden[i], 14) for i in range(2)]
        return [
            jax.jacrev(block.apply, argnums=1)({"params": of_block}, x, (2, 2))
            for of_block, block, x in zip(params, blocks, inputs, strict=True)
        ]

    sign = np.asarray(jax.random.rademacher(KEY, outputs[0].shape, jnp.float32), np.float64)
    trainabilities = []
    for jacobian in jacobians(
        [net.params["params"][f"block_{i}"] for i in range(2)],
        [inside["positions"], inside["block_0"]],
    ):
        back = np.einsum("abcdef,abc->def", np.asarray(jacobian, np.float64), sign)
        matrix = np.mean(
            [back[n, t][:, None] * sign[n, t] for n in range(4) for t in range(5)], axis=0
        )
        s = np.linalg.norm(matrix, 2)
        trainabilities.append(2 - s - 1 / (s + 1e-6))
    np.testing.assert_allclose(measured["az_nas"][2], np.mean(trainabilities), rtol=1e-3)


def test_az_nas_joins_by_rank():
    """The sum over components of the logarithm of rank over candidates; the best in everything
    comes first.
    """
    numbers = np.array([[1.0, 5.0], [2.0, 4.0], [3.0, 6.0]])
    joined = proxies.get("az_nas").join(numbers)
    np.testing.assert_allclose(joined, np.log([1 / 3, 2 / 3, 1]) + np.log([2 / 3, 1 / 3, 1]))


def test_matrices_are_by_layer():
    """A scanned stack gives what its layers give one by one."""
    stacked = {
        "params": {
            "blocks": {"block": {"fc": {"kernel": jnp.arange(24.0).reshape(2, 3, 4)}}},
            "norm": {"scale": jnp.ones(3)},
        }
    }
    assert {path: m.shape for path, m in weights.matrices(stacked).items()} == {
        "params/blocks/block/fc/kernel": (2, 3, 4)
    }

    def of_layers(w):
        return jnp.sqrt(jnp.sum(w * w, axis=(1, 2)))

    norms = jax.jit(partial(weights.total, of_layers))(stacked)
    parts = np.arange(24.0).reshape(2, 12)
    np.testing.assert_allclose(norms, np.linalg.norm(parts, axis=1).sum(), rtol=1e-6)
