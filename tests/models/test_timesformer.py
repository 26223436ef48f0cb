"""TimeSformer: attention in groups by explicit loops, the kernel by the Jacobian, lengths in space
and time.

Hugging Face's implementation is compared in tests/weights/test_peers.py.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from trees import float64

from vintk_jax import ntk
from vintk_jax.models.folding import fitted, fold
from vintk_jax.models.grouped_attention import GroupedAttention
from vintk_jax.models.timesformer import ATTENTIONS, TimeSformer, frames_shown

CLIPS = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((3, 4, 8, 8, 3))))


def timesformer(**fields):
    """A small one of two blocks."""
    sizes = dict(
        embed_dim=6,
        num_heads=(2, 2),
        hidden=(8, 8),
        head_dim=3,
        num_classes=3,
        patch_size=4,
        native_grid=(2, 2),
        native_frames=4,
    )
    return TimeSformer(**{**sizes, **fields})


def softmax(x):
    """Over the last axis, in NumPy."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("groups", ["time", "space", "frames"])
def test_groups_by_loops(groups, variables_for, relative_error):
    """Token by token, head by head: each attends to those of its group, and a shared class token to
    each frame by turns.
    """
    frames = 3
    places = 4
    heads = 2
    dim = 3
    count = {
        "time": frames * places,
        "space": 1 + frames * places,
        "frames": frames * (1 + places),
    }[groups]
    layer = GroupedAttention(groups, heads, dim)
    x = np.random.default_rng(0).standard_normal((2, count, 5)).astype(np.float32)
    variables = variables_for(layer, jnp.asarray(x), frames)
    p = float64(variables["params"])
    qkv = (x @ p["qkv"]["kernel"] + p["qkv"]["bias"]).reshape(2, count, 3, heads, dim)
    if groups == "time":
        members = [
            [[f * places + s for f in range(frames)]] for _ in range(frames) for s in range(places)
        ]
    elif groups == "frames":
        members = [
            [list(range(f * (1 + places), (f + 1) * (1 + places)))]
            for f in range(frames)
            for _ in range(1 + places)
        ]
    else:
        of_frame = [[0, *range(1 + f * places, 1 + (f + 1) * places)] for f in range(frames)]
        members = [of_frame] + [[of_frame[f]] for f in range(frames) for _ in range(places)]
    out = np.zeros((2, count, heads, dim))
    for n in range(2):
        for i, groups_of_token in enumerate(members):
            for h in range(heads):
                answers = []
                for group in groups_of_token:
                    weights = softmax(qkv[n, i, 0, h] @ qkv[n, group, 1, h].T / np.sqrt(dim))
                    answers.append(weights @ qkv[n, group, 2, h])
                out[n, i, h] = np.mean(answers, axis=0)
    wanted = out.reshape(2, count, -1) @ p["proj"]["kernel"] + p["proj"]["bias"]
    run = jax.jit(layer.apply, static_argnums=2)
    assert relative_error(run(variables, x, frames), wanted) < 1e-5


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_kernel_is_the_jacobians(attention, variables_for, jacobian_kernel, relative_error):
    """The structured kernel by the definition, under masks, at a length that is shorter in space
    and time.
    """
    depth = 2 if attention == "divided" else 1
    grid = (2, 2, 2)
    model = timesformer(attention=attention, num_heads=(2,) * depth, hidden=(8,) * depth)
    of_blocks = {
        "alive": [1, 1],
        "heads": [[1, 0], [1, 1]],
        "hidden": [[1] * 6 + [0] * 2, [1] * 8],
    }
    masks = {name: jnp.asarray(np.float32(mask[:depth])) for name, mask in of_blocks.items()}
    masks["embed"] = jnp.asarray(np.float32([1] * 5 + [0]))
    variables = variables_for(model, CLIPS)
    v = jnp.asarray(np.float32(np.random.default_rng(1).standard_normal((3, 1))))

    def apply(p, x):
        return model.apply(p, x, grid, masks=masks)

    got = jax.jit(partial(ntk.kernel, apply, cotangent=v))(variables, CLIPS)
    assert relative_error(got, jacobian_kernel(apply, variables, CLIPS, v)) < 1e-5


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_masks_are_the_narrow_model(attention, variables_for, stack_blocks, relative_error):
    """Columns, heads, hidden units and a block switched off: the logits of the model that hasn't
    got them; scanned as well.
    """
    wide, narrow = (
        timesformer(attention=attention, **sizes)
        for sizes in ({}, dict(embed_dim=4, num_heads=(1,), hidden=(5,)))
    )
    variables = variables_for(wide, CLIPS)

    def first(count, size):
        return (np.arange(size) < count).astype(np.float32)

    masks = {
        "embed": first(4, 6),
        "alive": first(1, 2),
        "heads": np.outer(first(1, 2), first(1, 2)),
        "hidden": np.outer(first(1, 2), first(5, 8)),
    }
    tree = jax.tree.map(np.asarray, variables["params"])
    wanted = jax.eval_shape(narrow.init, jax.random.key(0), CLIPS)["params"]

    def cut(path, shape):
        leaf = tree
        for part in path:
            leaf = leaf[part.key]
        if "qkv" in str(path):  # three parts of heads, each by itself
            return leaf.reshape(*leaf.shape[:-1], 3, -1)[..., : shape.shape[-1] // 3][
                : shape.shape[0] if leaf.ndim == 2 else None
            ].reshape(shape.shape)
        return leaf[tuple(slice(size) for size in shape.shape)]

    small = {"params": jax.tree_util.tree_map_with_path(cut, wanted)}
    scanned = wide.clone(scan=True, remat=True)

    @jax.jit
    def run(small, variables, masks):
        return (
            narrow.apply(small, CLIPS),
            wide.apply(variables, CLIPS, masks=masks),
            scanned.apply(stack_blocks(variables), CLIPS, masks=masks),
        )

    wanted, unrolled, stacked = run(small, variables, masks)
    assert relative_error(unrolled, wanted) < 1e-5
    assert relative_error(stacked, wanted) < 1e-5


def test_frames_of_a_length():
    """The middles of equal parts; all of them for the whole clip; more than there are is
    refused.
    """
    assert frames_shown(8, 8).tolist() == list(range(8))
    assert frames_shown(8, 2).tolist() == [2, 6]
    assert frames_shown(5, 1).tolist() == [2]
    with pytest.raises(ValueError, match="frames of a clip of 8, got 9"):
        frames_shown(8, 9)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_length_sees_only_its_frames_and_keeps_their_times(
    attention, variables_for, relative_error
):
    """Frames that aren't shown have no effect, and shown ones in another order do, where there are
    times.
    """
    model = timesformer(attention=attention)
    variables = variables_for(model, CLIPS)
    clips = np.asarray(CLIPS)

    @jax.jit
    def run(clips):
        return model.apply(variables, clips, (2, 2, 2)), model.apply(variables, clips)

    logits, of_all = run(clips)
    hidden = clips.copy()
    hidden[:, [0, 2]] = 9.0
    assert relative_error(run(hidden)[0], logits) < 1e-6
    swapped = relative_error(run(clips[:, [0, 3, 2, 1]])[0], logits)
    assert swapped > 1e-3 or attention == "space"
    backwards = run(clips[:, ::-1])[1]
    assert (relative_error(backwards, of_all) < 1e-5) == (attention == "space")


def test_norms_by_length(variables_for):
    """A length without norms is refused; with them each length uses its own."""
    model = timesformer(norm_grids=((4, 2, 2), (2, 1, 1)))
    variables = variables_for(model, CLIPS, (4, 2, 2))
    with pytest.raises(ValueError, match=r"norms for.*got \(2, 2, 2\)"):
        jax.eval_shape(partial(model.apply, clips=CLIPS, grid=(2, 2, 2)), variables)

    def change(path, leaf):
        leaf = np.array(leaf)
        if "norm" in str(path):
            leaf[1] += 1.0
        return leaf

    @jax.jit
    def run(variables):
        return [model.apply(variables, CLIPS, length) for length in model.norm_grids]

    before = run(variables)
    after = run(jax.tree_util.tree_map_with_path(change, variables))
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(np.asarray(before[1]) - after[1]).max() > 1e-3


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_folded_once_is_the_same(attention, variables_for, relative_error):
    """The ordinary model of a length, on clips made ready for it: the logits of the resizable
    one.
    """
    lengths = ((4, 2, 2), (2, 2, 2), (2, 1, 1), (3, 3, 3))
    model = timesformer(attention=attention, num_heads=(2,), hidden=(8,), norm_grids=lengths)

    @jax.jit
    def run(variables, clips):
        pairs = []
        for length in lengths:
            ordinary, folded = fold(model, variables, length, 8, 4)
            logits = ordinary.apply(folded, fitted(clips, length))
            pairs.append((logits, model.apply(variables, clips, length)))
        return pairs

    for got, wanted in run(variables_for(model, CLIPS, lengths[0]), CLIPS):
        assert relative_error(got, wanted) < 1e-5
