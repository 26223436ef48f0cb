"""Token merging against the definition written out in numpy, token by token, and against the ViT
that it is made of.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.models.tome import TomeViT, fuse, merge
from vintk_jax.models.vit import ViT


def merged_by_hand(x, size, metric, count):
    """One image: the pairs by a sort over all of the first half's best matches."""
    unit = metric / np.linalg.norm(metric, axis=-1, keepdims=True)
    first = list(range(0, len(x), 2))
    second = list(range(1, len(x), 2))
    best = {a: second[np.argmax(unit[second] @ unit[a])] for a in first[1:]}
    likeness = {a: unit[a] @ unit[b] for a, b in best.items()}
    gone = sorted(best, key=likeness.get, reverse=True)[:count]
    sums = x * size[:, None]
    sizes = size.copy()
    for a in gone:
        sums[best[a]] += x[a] * size[a]
        sizes[best[a]] += size[a]
    left = [a for a in first if a not in gone] + second
    return (sums / sizes[:, None])[left], sizes[left]


@pytest.mark.parametrize("tokens", [9, 10, 17])
def test_merging_is_what_the_paper_says(tokens):
    """Several images, none like another, sizes other than one."""
    rng = np.random.default_rng(tokens)
    x = rng.standard_normal((3, tokens, 5))
    metric = rng.standard_normal((3, tokens, 4))
    size = rng.integers(1, 4, (3, tokens)).astype(float)
    count = (tokens - 1) // 2 - 1
    run = jax.jit(merge, static_argnums=3)
    got, sizes = map(np.asarray, run(*(np.float32(a) for a in (x, size, metric)), count))
    for image in range(3):
        wanted, wanted_sizes = merged_by_hand(x[image], size[image], metric[image], count)
        np.testing.assert_allclose(got[image], wanted, rtol=1e-5)
        np.testing.assert_allclose(sizes[image], wanted_sizes)
    np.testing.assert_allclose(got[:, 0], x[:, 0], rtol=1e-6)


def fused_by_hand(x, size, received, count):
    """One image: the least attended patch tokens, by a sort."""
    patches = sorted(range(1, len(x)), key=lambda i: received[i], reverse=True)
    gone = patches[len(patches) - count - 1 :]
    kept = [0, *sorted(set(patches) - set(gone))]
    fused = (received[gone, None] * x[gone]).sum(axis=0) / received[gone].sum()
    return np.vstack([x[kept], fused]), np.append(size[kept], size[gone].sum())


@pytest.mark.parametrize("count", [1, 3])
def test_fusing_is_what_its_words_say(count):
    """Several images, sizes other than one."""
    rng = np.random.default_rng(count)
    x = rng.standard_normal((3, 9, 5)).astype(np.float32)
    size = rng.integers(1, 4, (3, 9)).astype(np.float32)
    received = rng.random((3, 9)).astype(np.float32)
    got, sizes = map(np.asarray, fuse(*map(jnp.asarray, (x, size, received)), count))
    assert got.shape[1] == 9 - count
    for image in range(3):
        wanted, wanted_sizes = fused_by_hand(x[image], size[image], received[image], count)
        np.testing.assert_allclose(got[image], wanted, rtol=1e-5)
        np.testing.assert_allclose(sizes[image], wanted_sizes)


@pytest.mark.parametrize(("pool", "stem"), [("token", 0), ("mean", 0), ("mean", 5)])
def test_without_merging_it_is_the_vit(pool, stem, variables_for):
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
        stem_width=stem,
        stem_sides=(3,),
    )
    images = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((2, 16, 16, 3))))
    variables = variables_for(vit, images, size=0.1)

    @jax.jit
    def run(variables, images):
        models = (vit, TomeViT(vit, 0), TomeViT(vit, 5), TomeViT(vit, 5, by_attention=True))
        return [model.apply(variables, images) for model in models]

    plain, unmerged, *fewer = map(np.asarray, run(variables, images))
    np.testing.assert_allclose(unmerged, plain, atol=1e-5)
    for one in fewer:
        assert one.shape == plain.shape
        assert np.abs(one - plain).max() > 1e-3


def test_equal_tokens_may_be_merged_at_no_loss(variables_for):
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
    images = jnp.asarray(np.full((1, 16, 16, 3), 0.3, np.float32))
    variables = variables_for(vit, images, size=0.1)
    table = variables["params"]["positions"]["table"]
    variables["params"]["positions"]["table"] = np.zeros_like(table)

    @jax.jit
    def run(variables, images):
        return TomeViT(vit, 6).apply(variables, images), vit.apply(variables, images)

    merged, plain = run(variables, images)
    np.testing.assert_allclose(merged, plain, atol=1e-5)


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
        jax.eval_shape(TomeViT(vit, 1).init, jax.random.key(0), np.zeros((1, 16, 16, 3)))
