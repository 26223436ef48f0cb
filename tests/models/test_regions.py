"""Lengths by region, against loops over images and against ordinary passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.models.passes import at_lengths, drawn, with_tokens
from vintk_jax.models.regions import Regions, assembled, by_parent, ranked
from vintk_jax.models.vit import ViT

IMAGES = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((3, 32, 32, 3))))
REGIONS = Regions(4, 5)
LENGTHS = ((8, 8), REGIONS, (4, 4))


def vit(**fields):
    return ViT(12, (2,), (20,), 6, 5, patch_size=8, native_grid=(8, 8), pool="mean", **fields)


def test_the_most_relevant_tokens_come_first():
    """By what each says for the class that the mean of all names."""
    by_class = np.random.default_rng(1).standard_normal((6, 9, 4)).astype(np.float32)
    for one, order in zip(by_class, np.asarray(ranked(jnp.asarray(by_class))), strict=True):
        winner = int(np.argmax(one.mean(axis=0)))
        assert sorted(order.tolist()) == list(range(9))
        assert (np.diff(one[order, winner]) <= 0).all()


def test_a_sequence_is_what_loops_make_of_it():
    """The class token, those that stay, then four children a cut token with their parent's."""
    rng = np.random.default_rng(2)
    coarse, reused = rng.standard_normal((2, 3, 17, 6)).astype(np.float32)
    fine = rng.standard_normal((3, 64, 6)).astype(np.float32)
    order = np.stack([rng.permutation(16) for _ in range(3)])
    found = assembled(*map(jnp.asarray, (coarse, fine, reused, order)), REGIONS)
    assert found.shape == (3, 1 + REGIONS.tokens, 6)
    for n in range(3):
        wanted = [coarse[n, 0] + reused[n, 0]]
        wanted += [coarse[n, 1 + i] + reused[n, 1 + i] for i in order[n, 5:]]
        for i in order[n, :5]:
            row, column = divmod(int(i), 4)
            for r, c in ((0, 0), (0, 1), (1, 0), (1, 1)):
                child = fine[n, 8 * (2 * row + r) + 2 * column + c]
                wanted.append(child + reused[n, 1 + i])
        np.testing.assert_allclose(found[n], np.stack(wanted), rtol=1e-6)


def test_children_lie_in_their_parents():
    """By their places, written into the tokens themselves."""
    places = np.stack(np.meshgrid(np.arange(8), np.arange(8), indexing="ij"), -1).reshape(1, 64, 2)
    children = np.asarray(by_parent(jnp.asarray(places, jnp.float32), REGIONS))
    for parent in range(16):
        assert (children[0, parent] // 2 == np.array(divmod(parent, 4))).all()


def test_with_all_cut_it_is_a_pass_on_the_finer_grid():
    """As long as nothing is added of the first pass: what a model starts with."""
    model = vit()
    every = Regions(4, 16)
    variables = drawn(model, jax.random.key(0), IMAGES[:1], [every, (4, 4)])
    second, whole = at_lengths(model, variables, IMAGES, [every, (8, 8)])
    np.testing.assert_allclose(second, whole, atol=1e-5)


@pytest.fixture(scope="module")
def three():
    """A model of three lengths with norms of their own, whose second pass adds something."""
    model = vit(norm_grids=LENGTHS)
    variables = drawn(model, jax.random.key(0), IMAGES[:1], LENGTHS)
    fc2 = variables["params"]["reuse"]["fc2"]
    assert not fc2["kernel"].any()
    fc2["kernel"] = 0.3 * jax.random.normal(jax.random.key(1), fc2["kernel"].shape)
    return model, variables


def test_lengths_together_are_lengths_by_themselves(three):
    """A pass that another begins with is run once, and says the same."""
    model, variables = three
    together = at_lengths(model, variables, IMAGES, LENGTHS)
    _, known = with_tokens(model, variables, IMAGES, (4, 4))
    alone = [
        model.apply(variables, IMAGES, (8, 8)),
        model.apply(variables, IMAGES, REGIONS, known=known),
        model.apply(variables, IMAGES, (4, 4)),
    ]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    without = model.apply(variables, IMAGES, REGIONS, known=0 * known)
    assert np.abs(alone[1] - without).max() > 1e-3


def test_a_second_pass_teaches_the_first(three):
    """Its gradient reaches the norm of the coarse grid."""
    model, variables = three

    def second(variables):
        (answer,) = at_lengths(model, variables, IMAGES, [REGIONS])
        return answer[:, 0].sum()

    gradient = jax.grad(second)(variables)["params"]["norm"]["scale"]
    by_length = np.abs(gradient).max(axis=1)
    assert by_length[0] == 0
    assert (by_length[1:] > 0).all()


def test_a_second_pass_alone_is_refused(three):
    """It wants to know of the first."""
    model, variables = three
    with pytest.raises(ValueError, match="knew"):
        model.apply(variables, IMAGES, REGIONS)
