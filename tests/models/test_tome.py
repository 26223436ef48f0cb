"""Token merging against the definition written out in numpy, token by token, and against the ViT
that it is made of.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.models.tome import TomeViT, merge
from vintk_jax.models.vit import ViT


def merged_by_hand(x, size, metric, count):
    """One image: the pairs by a sort over all of the first half's best matches."""
    unit = metric / np.linalg.norm(metric, axis=-1, keepdims=True)
    first, second = list(range(0, len(x), 2)), list(range(1, len(x), 2))
    best = {a: max(second, key=lambda b: unit[a] @ unit[b]) for a in first[1:]}
    gone = sorted(best, key=lambda a: -(unit[a] @ unit[best[a]]))[:count]
    sums, sizes = x * size[:, None], size.copy()
    for a in gone:
        sums[best[a]] += x[a] * size[a]
        sizes[best[a]] += size[a]
    left = [a for a in first if a not in gone] + second
    return (sums / sizes[:, None])[left], sizes[left]


@pytest.mark.parametrize("tokens", [9, 10, 17])
def test_merging_is_what_the_paper_says(tokens):
    """Several images, none like another, sizes other than one."""
    rng = np.random.default_rng(tokens)
    x, metric = rng.standard_normal((3, tokens, 5)), rng.standard_normal((3, tokens, 4))
    size = rng.integers(1, 4, (3, tokens)).astype(float)
    count = (tokens - 1) // 2 - 1
    got, sizes = merge(*(jnp.asarray(a, jnp.float32) for a in (x, size, metric)), count)
    for image in range(3):
        wanted, wanted_sizes = merged_by_hand(x[image], size[image], metric[image], count)
        np.testing.assert_allclose(got[image], wanted, rtol=1e-5)
        np.testing.assert_allclose(sizes[image], wanted_sizes)
    np.testing.assert_allclose(got[:, 0], x[:, 0], rtol=1e-6)


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_without_merging_it_is_the_vit(pool):
    """The same parameters, the same logits; with merging others, as many."""
    vit = ViT(
        embed_dim=12,
        num_heads=(2, 2),
        hidden=(16, 16),
        head_dim=6,
        num_classes=3,
        patch_size=4,
        native_grid=(4, 4),
        pool=pool,
    )
    images = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
    variables = jax.tree.map(
        lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(leaf.size), leaf.shape),
        vit.init(jax.random.key(1), images),
    )
    plain = vit.apply(variables, images)
    np.testing.assert_allclose(TomeViT(vit, 0).apply(variables, images), plain, atol=1e-5)
    merged = TomeViT(vit, 5).apply(variables, images)
    assert merged.shape == plain.shape
    assert np.abs(merged - plain).max() > 1e-3


def test_equal_tokens_may_be_merged_at_no_loss():
    """A grey image and no positions: all patches are alike, so that proportional attention gives
    the same answer for any number merged.
    """
    vit = ViT(
        embed_dim=12,
        num_heads=(2, 2),
        hidden=(16, 16),
        head_dim=6,
        num_classes=3,
        patch_size=4,
        native_grid=(4, 4),
    )
    images = jnp.full((1, 16, 16, 3), 0.3)
    variables = vit.init(jax.random.key(1), images)
    variables["params"]["positions"]["table"] *= 0
    np.testing.assert_allclose(
        TomeViT(vit, 6).apply(variables, images), vit.apply(variables, images), atol=1e-5
    )


def test_relative_positions_are_refused():
    """Joined tokens have no place."""
    vit = ViT(
        embed_dim=12,
        num_heads=(2,),
        hidden=(16,),
        head_dim=6,
        num_classes=3,
        patch_size=4,
        native_grid=(4, 4),
        max_distance=3,
    )
    with pytest.raises(ValueError, match="relative positions"):
        TomeViT(vit, 1).init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
