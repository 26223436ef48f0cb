"""The kernel by layer: each share by its definition, in ordinary, masked and scanned models."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import ntk
from vintk_jax.models.vit import ViT
from vintk_jax.ntk import definition
from vintk_jax.ntk.intercepting import UnsupportedModel
from vintk_jax.ntk.layer_measures import Factors
from vintk_jax.spaces import conformance
from vintk_jax.spaces.by_choices import leading_ones

MODEL = ViT(
    embed_dim=6,
    num_heads=(2, 2),
    hidden=(8, 8),
    head_dim=3,
    num_classes=3,
    patch_size=4,
    native_grid=(2, 2),
    max_distance=1,
)
SCANNED = dataclasses.replace(MODEL, scan=True)
MASKS = jax.tree.map(
    jnp.asarray,
    {
        "embed": leading_ones(4, 6),
        "alive": leading_ones(1, 2),
        "heads": leading_ones((1, 0), 2),
        "hidden": leading_ones((5, 0), 8),
    },
)
IMAGES = jnp.asarray(np.random.default_rng(0).standard_normal((3, 8, 8, 3)), jnp.float32)


def gram(gradients):
    """Inner products over everything but the samples."""
    flat = [gradient.reshape(3, -1) for gradient in gradients]
    return sum(g @ g.T for g in flat)


def by_the_jacobian(model, params, masks):
    """Each layer's share of the kernel of summed logits, from the gradients of its parameters
    alone; layers of scanned blocks one by one.
    """

    def summed(params, images):
        options = {} if masks is None else {"masks": masks}
        return model.apply(params, images, **options).sum(axis=1)

    jacobian = definition.jacobian(summed, params, IMAGES)[:, 0]
    flat = {}
    start = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params["params"]):
        of_parameter = jacobian[:, start : start + leaf.size].reshape(3, *leaf.shape)
        flat.setdefault("/".join(key.key for key in path[:-1]), []).append(of_parameter)
        start += leaf.size
    shares = {}
    for path, leaves in flat.items():
        if path.startswith("blocks/"):
            depth = leaves[0].shape[1]
            shares[path] = np.stack([gram([leaf[:, i] for leaf in leaves]) for i in range(depth)])
        else:
            shares[path] = gram(leaves)
    return shares


@pytest.mark.parametrize(
    ("model", "masks"),
    [(MODEL, None), (SCANNED, MASKS)],
    ids=["unrolled", "scanned-masked"],
)
def test_shares_are_the_jacobians(model, masks):
    """Layer by layer, to 1e-5; and they add up to the kernel."""
    params = conformance.draw(model, IMAGES, size=0.3)

    @jax.jit
    def run(params):
        layers = ntk.by_layer(model, params, IMAGES, masks=masks)
        return layers, ntk.kernel(model, params, IMAGES, masks=masks)

    layers, whole = run(params)
    wanted = by_the_jacobian(model, params, masks)
    assert layers.keys() == wanted.keys()
    scale = float(np.abs(whole).max())
    for path, share in wanted.items():
        np.testing.assert_allclose(layers[path], share, atol=1e-5 * scale, err_msg=path)
    added = sum(share.reshape(-1, 3, 3).sum(0) for share in layers.values())
    np.testing.assert_allclose(added, whole, atol=1e-5 * scale)
    assert set(ntk.by_type(layers)) >= {"qkv", "proj", "fc1", "fc2", "patch_embed", "head", "norm1"}


def sizes(x, d):
    """Squared norms of both factors, and of the gradient summed over samples."""
    return jnp.stack([jnp.sum(x * x), jnp.sum(d * d), jnp.sum((x.T @ d) ** 2)])


def test_factors_of_a_linear_layer():
    """A statistic sees the layer's inputs, with a column of ones for its bias, and the cotangents
    of its outputs; two random directions are averaged.
    """
    model = nn.Sequential([nn.Dense(4), nn.LayerNorm(), nn.Dense(2, use_bias=False)])
    x = jnp.asarray(np.random.default_rng(1).standard_normal((5, 3)), jnp.float32)
    params = conformance.draw(model, x)
    directions = np.float32([[1.0, 0.0], [0.5, 2.0]])
    layers = ntk.by_layer(
        model, params, x, measure=Factors(sizes, 3), cotangent=jnp.asarray(directions)
    )
    inputs = np.asarray(nn.Sequential(model.layers[:2]).apply(params, x))
    wanted = []
    for direction in directions.T:
        d = np.tile(direction, (5, 1))
        gradient = inputs.T @ d
        wanted.append([np.sum(inputs**2), np.sum(d**2), np.sum(gradient**2)])
    np.testing.assert_allclose(layers["layers_2"], np.mean(wanted, axis=0), rtol=1e-5)
    assert layers["layers_0"][0] == pytest.approx(float(np.sum(x**2)) + 5, rel=1e-5)
    assert not np.any(layers["layers_1"])


class _Step(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(3)(x), None


class Scans(nn.Module):
    """A scan of a user's own, which hands on parameters alone."""

    @nn.compact
    def __call__(self, x):
        scanned = nn.scan(_Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=2)
        return scanned()(x, None)[0]


def test_a_scan_that_hands_on_no_taps():
    """What to add is said; the kernel as a whole needs none."""
    x = jnp.ones((2, 3))
    params = conformance.draw(Scans(), x)
    assert ntk.kernel(Scans(), params, x).shape == (2, 2)
    with pytest.raises(UnsupportedModel, match=r"'taps'.*variable_axes"):
        ntk.by_layer(Scans(), params, x)


def test_paths_are_those_of_the_parameters():
    """A module that is a layer itself has the empty path."""
    x = jnp.ones((2, 3))
    model = nn.Dense(2)
    layers = ntk.by_layer(model, conformance.draw(model, x), x)
    assert list(layers) == [""]
