"""One train step, against its definition."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vintk_jax.data.archives import MEAN, STD
from vintk_jax.models import layer_decay
from vintk_jax.models.vit import ViT
from vintk_jax.tasks import mixing
from vintk_jax.tasks.base import make_predict
from vintk_jax.tasks.objectives import Classification, length_losses, normalise
from vintk_jax.training.optimizer import is_decayed, make_optimizer, make_schedule
from vintk_jax.training.sharding import make_mesh
from vintk_jax.training.step import Recipe, make_train_step, stochastic_depth
from vintk_jax.workdir.state import State

GRIDS = ((2, 2), (1, 1))
MODEL = ViT(
    embed_dim=8,
    num_heads=(2, 2),
    hidden=(12, 12),
    head_dim=4,
    num_classes=3,
    patch_size=4,
    native_grid=(2, 2),
    norm_grids=GRIDS,
)
RNG = np.random.default_rng(0)
BATCH = {
    "image": RNG.integers(0, 256, (8, 8, 8, 3), np.uint8),
    "label": RNG.integers(0, 3, 8, np.int32),
}


SHALLOW = MODEL.clone(num_heads=(2,), hidden=(12,))
DESCENT = Recipe(Classification(3, label_smoothing=0.1, distill=0.5))
IMAGES = ((BATCH["image"] / 255 - MEAN) / STD).astype(np.float32)


def flat(tree):
    """By path, in NumPy."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in found}


@pytest.fixture(scope="module")
def params(variables_for):
    """Variables of the model."""
    return variables_for(MODEL, jnp.zeros((1, 8, 8, 3)), GRIDS[0])


@pytest.fixture(scope="module")
def shallow(variables_for):
    """Variables of the model of one block."""
    return variables_for(SHALLOW, jnp.zeros((1, 8, 8, 3)), GRIDS[0])


def one_step(params, recipe):
    """The state and metrics of the model of one block after one step of plain descent."""
    optimizer = optax.sgd(0.1)
    state = State(np.int32(0), params, optimizer.init(params), None)
    return jax.jit(make_train_step(SHALLOW, GRIDS, optimizer, recipe, 0))(state, BATCH)


@pytest.fixture(scope="module")
def descended(shallow):
    """After a step of plain descent."""
    return one_step(shallow, DESCENT)


def cross_entropy(logits, targets):
    """In NumPy, float64."""
    logits = np.asarray(logits, np.float64)
    return -(targets * (logits - np.log(np.exp(logits).sum(-1, keepdims=True)))).sum(-1)


def test_losses_of_the_lengths():
    """Cross-entropy for the longest; for the shorter a mean of label and teacher, of which no
    gradient goes to the teacher.
    """
    logits = RNG.standard_normal((2, 5, 3))
    targets = np.eye(3)[[0, 1, 2, 1, 0]]
    teacher = np.exp(logits[0]) / np.exp(logits[0]).sum(-1, keepdims=True)
    divergence = cross_entropy(logits[1], teacher) - cross_entropy(logits[0], teacher)
    wanted = [
        cross_entropy(logits[0], targets).mean(),
        (0.3 * cross_entropy(logits[1], targets) + 0.7 * divergence).mean(),
    ]

    @jax.jit
    def losses(longest, shorter, targets):
        return length_losses([longest, shorter], targets, 0.7)

    @jax.jit
    def of_student(longest, shorter, targets):
        return jax.grad(lambda longest: losses(longest, shorter, targets)[1])(longest)

    logits = logits.astype(np.float32)
    targets = targets.astype(np.float32)
    np.testing.assert_allclose(losses(*logits, targets), wanted, rtol=1e-5)
    assert not np.asarray(of_student(*logits, targets)).any()


def test_a_step_of_plain_descent_follows_the_gradient_of_the_mean_loss(shallow, descended):
    """With SGD the parameters move by minus the rate times the gradient of the mean over lengths;
    metrics are those before the step.
    """
    state, metrics = descended

    @jax.jit
    @partial(jax.value_and_grad, has_aux=True)
    def loss(p, images, targets):
        logits = [SHALLOW.apply(p, images, grid) for grid in GRIDS]
        return jnp.mean(length_losses(logits, targets, 0.5)), logits

    targets = (np.eye(3)[BATCH["label"]] * 0.9 + 0.1 / 3).astype(np.float32)
    (value, logits), gradient = loss(shallow, IMAGES, targets)
    assert float(metrics["loss"]) == pytest.approx(float(value), rel=1e-5)
    accuracy = [(np.argmax(one, -1) == BATCH["label"]).mean() for one in logits]
    np.testing.assert_allclose(metrics["train_accuracy"], accuracy)
    before = flat(shallow)
    after = flat(state.params)
    wanted = flat(gradient)
    assert before.keys() == after.keys() == wanted.keys()
    for name in wanted:
        moved = (before[name] - after[name]) / np.float32(0.1)
        np.testing.assert_allclose(moved, wanted[name], atol=2e-4)
    assert int(state.step) == 1


def test_pieces_of_a_batch_add_up_to_it(shallow, descended):
    """Gradient accumulation gives the step of the whole batch."""
    whole, metrics = descended
    pieces, of_pieces = one_step(shallow, dataclasses.replace(DESCENT, accumulate=4))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole.params, pieces.params
    )
    np.testing.assert_allclose(of_pieces["losses"], metrics["losses"], rtol=1e-5)


def test_pieces_change_nothing_that_is_drawn(params):
    """Mixing and drop path are drawn for the whole batch, also where devices share it."""
    recipe = Recipe(Classification(3, mixup=0.8, cutmix=1.0), drop_path=0.5)
    optimizer = optax.sgd(0.1)
    found = []
    for accumulate, mesh in ((1, None), (4, None), (2, make_mesh(2, 1, 1))):
        own = dataclasses.replace(recipe, accumulate=accumulate)
        state = State(np.int32(0), params, optimizer.init(params), None)
        run = jax.jit(make_train_step(MODEL, GRIDS[:1], optimizer, own, 0, mesh))
        found.append(flat(run(state, BATCH)[0].params))
    for parts in found[1:]:
        for name, whole in found[0].items():
            np.testing.assert_allclose(parts[name], whole, atol=1e-6)


def test_running_mean_and_random_numbers_by_step(params):
    """The mean moves by its decay (shorter at the start); what is drawn depends on the step: the
    same twice, another later.
    """
    recipe = Recipe(Classification(3, mixup=0.8, cutmix=1.0), drop_path=0.5, ema=0.99)
    optimizer = optax.sgd(0.1)
    run = jax.jit(make_train_step(MODEL, GRIDS[:1], optimizer, recipe, 0))
    start = State(np.int32(0), params, optimizer.init(params), params)
    first, again, later = (run(start.replace(step=np.int32(step)), BATCH)[0] for step in (0, 0, 7))
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)
    before = flat(params)
    at_first = flat(first.params)
    at_later = flat(later.params)
    assert np.sqrt(sum(np.sum((at_first[name] - at_later[name]) ** 2) for name in before)) > 1e-4
    for state, decay in ((first, 0.1), (later, 8 / 17)):
        after = flat(state.params)
        mean = flat(state.ema)
        assert mean.keys() == before.keys()
        for name in before:
            wanted = decay * before[name] + (1 - decay) * after[name]
            np.testing.assert_allclose(mean[name], wanted, atol=1e-6)
        assert state.evaluated_params is state.ema


def test_stochastic_depth_keeps_its_expectation():
    """The first block always stays, the last goes with the rate; the mean of every multiplier is
    one.
    """

    @jax.jit
    def draw(key):
        return stochastic_depth(key, 5, 20000, 0.4)

    keep = np.asarray(draw(jax.random.key(0)))
    np.testing.assert_array_equal(keep[0], 1)
    np.testing.assert_allclose((keep == 0).mean(axis=(1, 2)), [0, 0.1, 0.2, 0.3, 0.4], atol=0.01)
    np.testing.assert_allclose(keep.mean(axis=(1, 2)), 1, atol=0.02)
    assert stochastic_depth(jax.random.key(0), 5, 10, 0.0) is None


def test_normalise_and_predict(shallow):
    """ImageNet's means and deviations; prediction is the model on standardised pixels."""

    @jax.jit
    def wanted(params, images):
        return SHALLOW.apply(params, images, (1, 1))

    np.testing.assert_allclose(jax.jit(normalise)(BATCH["image"]), IMAGES, atol=1e-5)
    got = jax.jit(make_predict(SHALLOW, (1, 1)))(shallow, BATCH["image"])
    np.testing.assert_allclose(got, wanted(shallow, IMAGES), atol=1e-5)


def test_mixup_and_cutmix():
    """Images and targets are mixed by one share; CutMix takes a rectangle of that share; each is
    drawn half of the time.
    """
    images = np.arange(4, dtype=np.float32)[:, None, None, None] * np.ones((4, 16, 16, 1)) + 1
    images = images.astype(np.float32)
    targets = np.eye(4, dtype=np.float32)

    @jax.jit
    def run(images, targets, key):
        return mixing.mix(images, targets, key, 0.8, 1.0)

    cut = 0
    for seed in range(40):
        found = run(images, targets, jax.random.key(seed))
        mixed, wanted = (np.asarray(x) for x in found)
        shares = np.diag(wanted)
        np.testing.assert_allclose(wanted.sum(-1), 1, atol=1e-6)
        np.testing.assert_allclose(shares, shares[0], atol=1e-6)
        np.testing.assert_allclose(
            mixed.mean(axis=(1, 2, 3)), wanted @ np.arange(1.0, 5.0), atol=1e-4
        )
        values = np.unique(mixed[0].round(4))
        if set(values) <= {1.0, 4.0}:
            cut += 1
            foreign = mixed[0, :, :, 0] == 4
            rows = foreign.any(axis=1)
            columns = foreign.any(axis=0)
            assert foreign.sum() == rows.sum() * columns.sum()
    assert 10 < cut < 30
    for alphas in ((0.0, 0.0), (0.0, 1.0), (0.8, 0.0)):
        # Not jitted: the two share the program of the distribution, which is most of the work.
        mixed, _ = mixing.mix(jnp.asarray(images), jnp.asarray(targets), jax.random.key(1), *alphas)
        assert (np.asarray(mixed) == images).all() == (alphas == (0.0, 0.0))


def test_adamw_by_its_definition(params):
    """Two steps in NumPy: decay on kernels alone, decoupled; clipping of the whole gradient;
    layer-wise rates.
    """
    schedule = make_schedule(0.1, 1, 10)
    optimizer = make_optimizer(
        params,
        schedule,
        name="adamw",
        weight_decay=0.3,
        beta2=0.99,
        clip_norm=0.5,
        layer_decay=0.5,
        layers=MODEL.layers,
    )
    gradients = [
        jax.tree.map(
            lambda leaf, seed=seed: (
                np.random.default_rng(seed).standard_normal(leaf.shape).astype(np.float32)
            ),
            params,
        )
        for seed in (0, 1)
    ]

    @jax.jit
    def update(params, state, gradient):
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    got = params
    state = jax.jit(optimizer.init)(params)
    for gradient in gradients:
        got, state = update(got, state, gradient)

    layers = {
        "patch_embed": 0,
        "class_token": 0,
        "positions": 0,
        "block_0": 1,
        "block_1": 2,
        "norm": 3,
        "head": 3,
    }
    norms = [
        np.sqrt(sum((np.asarray(leaf) ** 2).sum() for leaf in jax.tree.leaves(g)))
        for g in gradients
    ]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = [part.key for part in path]
        wanted = np.asarray(leaf, np.float64)
        m = 0.0
        v = 0.0
        for t, (gradient, norm) in enumerate(zip(gradients, norms, strict=True), start=1):
            g = gradient
            for name in names:
                g = g[name]
            g = np.asarray(g, np.float64) * min(1, 0.5 / norm)
            m = 0.9 * m + 0.1 * g
            v = 0.99 * v + 0.01 * g**2
            adam = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
            decay = 0.3 * wanted if names[-1] == "kernel" else 0
            wanted = wanted - float(schedule(t - 1)) * 0.5 ** (3 - layers[names[1]]) * (
                adam + decay
            )
        found = got
        for name in names:
            found = found[name]
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)


def test_muon_orthogonalises_the_blocks_kernels(params, stack_blocks):
    """The first step of a block's kernel is its gradient's orthogonal factor, by SVD, to
    Newton-Schulz's looseness; scanned, the same a block.

    The rest moves as under optax's AdamW with Nesterov's momentum.
    """
    gradient = jax.tree.map(
        lambda leaf: (
            np.random.default_rng(leaf.size).standard_normal(leaf.shape).astype(np.float32)
        ),
        params,
    )
    schedule = make_schedule(0.1, 0, 10)
    rest = {"weight_decay": 0.0, "beta2": 0.99, "clip_norm": 0, "layer_decay": 1}

    def moved(name, params, gradient):
        return first(make_optimizer(params, schedule, name=name, **rest), params, gradient)

    def first(optimizer, params, gradient):
        @jax.jit
        def run(params, gradient):
            return optimizer.update(gradient, optimizer.init(params), params)[0]

        return run(params, gradient)["params"]

    muon = moved("muon", params, gradient)
    wanted = first(optax.nadamw(0.1, b2=0.99, weight_decay=0.0), params, gradient)
    scanned = moved("muon", stack_blocks(params), stack_blocks(gradient))["blocks"]["block"]
    for layers in (("attention", "qkv"), ("mlp", "fc2")):

        def of(tree, layers=layers):
            return np.asarray(tree[layers[0]][layers[1]]["kernel"])

        for i in range(2):
            u, _, v = np.linalg.svd(of(gradient["params"][f"block_{i}"]), full_matrices=False)
            step = of(muon[f"block_{i}"])
            singular = np.linalg.svd(
                step / (-0.1 * 0.2 * np.sqrt(max(step.shape))), compute_uv=False
            )
            assert 0.5 < singular.min() <= singular.max() < 1.4
            assert -(step * (u @ v)).sum() / np.linalg.norm(step) / np.linalg.norm(u @ v) > 0.95
            np.testing.assert_allclose(of(scanned)[i], step, rtol=1e-3, atol=1e-5)
    for name in ("patch_embed", "head", "positions"):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), muon[name], wanted[name]
        )
    with pytest.raises(ValueError, match="adamw or muon"):
        moved("muo", params, gradient)


def test_layer_scales_of_a_scanned_stack_are_those_of_the_blocks(params, stack_blocks):
    """One number a block along the leading axis."""
    apart = layer_decay.scales(params, 0.5, MODEL.layers)
    stacked = layer_decay.scales(stack_blocks(params), 0.5, MODEL.clone(scan=True).layers)
    for i in range(2):
        got = np.asarray(stacked["params"]["blocks"]["block"]["mlp"]["fc1"]["kernel"])[i]
        assert float(got.squeeze()) == float(apart["params"][f"block_{i}"]["mlp"]["fc1"]["kernel"])
    assert float(stacked["params"]["positions"]["table"]) == 0.125
    assert float(stacked["params"]["head"]["bias"]) == 1


def test_schedule():
    """Up in a line, down by a cosine."""
    schedule = make_schedule(2.0, 10, 110)
    np.testing.assert_allclose(
        [schedule(0), schedule(5), schedule(10), schedule(60), schedule(110)],
        [0, 1, 2, 1, 0],
        atol=1e-6,
    )
    assert float(make_schedule(2.0, 0, 10)(0)) == 2.0
    with pytest.raises(ValueError, match="warm-up of fewer steps"):
        make_schedule(2.0, 10, 10)


def test_what_is_decayed(params):
    """Kernels, nothing else."""
    names = {
        path[-1].key
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
        if is_decayed(tuple(p.key for p in path))
    }
    assert names == {"kernel"}
