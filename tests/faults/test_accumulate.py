"""A batch in pieces, or shared by devices, is the batch: each part counts for as many targets as
it has.
"""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from vintk_jax.data.pairs import IGNORED
from vintk_jax.tasks.objectives import Classification
from vintk_jax.tasks.segmentation import Segmentation
from vintk_jax.training.sharding import make_mesh, shares
from vintk_jax.training.step import Recipe, make_train_step
from vintk_jax.workdir.state import State

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (8, 6, 6, 3)).astype(np.uint8)


class PerPixel(nn.Module):
    """Logits of each pixel from its colour."""

    @nn.compact
    def __call__(self, images):
        return nn.Dense(3)(images)


class PerImage(nn.Module):
    """Logits of an image from its mean colour."""

    @nn.compact
    def __call__(self, images):
        return nn.Dense(3)(images.mean((1, 2)))


def maps(*shares):
    """A map for each image, so much of which has a class."""
    made = RNG.integers(0, 3, (len(shares), 6, 6)).astype(np.uint8)
    ignored = RNG.random(made.shape) >= np.asarray(shares)[:, None, None]
    return np.where(ignored, IGNORED, made).astype(np.uint8)


@pytest.mark.parametrize(
    ("model", "objective", "labels"),
    [
        (PerPixel(), Segmentation(3), maps(1, 1, 1, 0.05, 0, 0, 0.5, 1)),
        (PerPixel(), Segmentation(3, 0.1), maps(0.1, 0.1, 1, 1, 1, 1, 1, 1)),
        (PerPixel(), Segmentation(3), maps(*[0] * 8)),
        (PerImage(), Classification(3, 0.1), RNG.integers(0, 3, 8).astype(np.int32)),
    ],
    ids=["some without any", "few in the first", "none at all", "images"],
)
def test_pieces_are_the_batch(model, objective, labels):
    """Parameters after one step of plain descent, and the metrics, for 1, 2, 4 and 8 pieces, of one
    device and of two.
    """
    params = model.init(jax.random.key(0), IMAGES.astype(np.float32))
    optimizer = optax.sgd(0.1)
    found = []
    mesh = make_mesh(2, 1, 1)
    assert shares(mesh)
    for accumulate, shared in ((1, None), (2, None), (4, None), (8, None), (1, mesh), (4, mesh)):
        recipe = Recipe(objective, 0.0, accumulate)
        step = make_train_step(model, (None,), optimizer, recipe, 0, shared)
        start = State(np.int32(0), params, optimizer.init(params), None)
        found.append(jax.jit(step)(start, {"image": IMAGES, "label": labels}))
    whole, metrics = found[0]
    for state, of_pieces in found[1:]:
        for name in ("loss", "train_accuracy", "gradient_norm"):
            np.testing.assert_allclose(of_pieces[name], metrics[name], rtol=1e-5, atol=1e-7)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
            state.params,
            whole.params,
        )
