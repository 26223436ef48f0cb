"""The engine against what a plan means for each image by itself; images are told apart by their
first pixel.
"""

import dataclasses
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference.test_batches import cut

from vintk_jax.adaptive.answers import Answers, features_of
from vintk_jax.adaptive.assigner_kinds import make_assigner
from vintk_jax.adaptive.assigner_networks import example
from vintk_jax.adaptive.calibration import chances_of
from vintk_jax.defaults.training import training
from vintk_jax.errors import UserError
from vintk_jax.inference.engine import DONE, Engine, Plan, Step
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import Predictor
from vintk_jax.tasks.classification import build

SIDE = 2


def numbered(count):
    """Images whose first two pixels spell their number."""
    images = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 1, 0] = np.divmod(np.arange(count), 256)
    return images


def number_of(images):
    """Of each image."""
    return images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 1, 0]


def counting_plan(keep=0.0, batches=None):
    """Three steps; image i is answered by step i % 3, and goes through all before. An answer is
    (number + step, 1).
    """

    def step(which):
        def run(images):
            if batches is not None:
                batches.append((which, len(images)))
            return np.stack([number_of(images) + which, np.ones(len(images))], axis=1).astype(
                np.float32
            ), number_of(images)

        def follow(found):
            return np.where(found[1] % 3 == which, DONE, which + 1)

        return Step(f"length {which}", run, follow, keep if which else 0.0)

    return Plan([step(which) for which in range(3)])


@given(
    count=st.integers(1, 200),
    sizes=st.sets(st.integers(1, 9), min_size=1, max_size=3),
    wait=st.sampled_from([0.0, 0.001, 1.0]),
    broken=st.sets(st.integers(0, 199), max_size=5),
)
def test_every_image_has_its_own_answer_in_its_place(count, sizes, wait, broken):
    """Whatever the batches and the wait; errors come out where they went in."""
    images = numbered(count)
    stream = (UserError(f"broken {i}") if i in broken else image for i, image in enumerate(images))
    answers = list(Engine(counting_plan(), (SIDE, SIDE, 3), tuple(sizes), wait)(stream))
    assert [answer.index for answer in answers] == list(range(count))
    for i, answer in enumerate(answers):
        if i in broken:
            assert (answer.error, answer.length, answer.probabilities) == (f"broken {i}", "", None)
        else:
            assert (answer.length, answer.probabilities[0], answer.error) == (
                f"length {i % 3}",
                i + i % 3,
                "",
            )


@given(count=st.integers(1, 150), size=st.integers(1, 20))
def test_images_in_memory(count, size):
    """The same answers, and the batches of a step are those that its images are best cut into, all
    there at once.
    """
    batches = []
    sizes = tuple(sorted({1, size}))
    block = Engine(counting_plan(batches=batches), (SIDE, SIDE, 3), sizes).all(numbered(count))
    np.testing.assert_array_equal(block.steps, np.arange(count) % 3)
    np.testing.assert_array_equal(
        block.probabilities[:, 0], np.arange(count) + np.arange(count) % 3
    )
    np.testing.assert_array_equal(
        block.passes, [sum(i % 3 >= which for i in range(count)) for which in range(3)]
    )
    reached = [sum(i % 3 >= which for i in range(count)) for which in range(3)]
    for which, images in enumerate(reached):
        assert [length for step, length in batches if step == which] == cut(images, sizes)


@pytest.mark.parametrize(
    ("count", "wanted"), [(0, {1, 8, 64}), (5, {8}), (64, {64}), (70, {8, 64}), (2000, {8, 64})]
)
def test_sizes_that_are_tried_beforehand(count, wanted):
    """Of a plan of one step, those that so many images in memory are cut into; else all."""
    batches = []
    three = counting_plan(batches=batches)
    Engine(Plan(three.steps[:1]), (SIDE, SIDE, 3), (1, 8, 64)).warm_up(count)
    assert {size for _, size in batches} == wanted
    batches.clear()
    Engine(three, (SIDE, SIDE, 3), (1, 8, 64)).warm_up(count)
    assert set(batches) == {(step, size) for step in range(3) for size in (1, 8, 64)}


def test_earlier_answers_have_their_say():
    """keep = k: k of what was known, 1 - k of what the step says: 0, 1 and 2 more than the number
    at the three steps.
    """
    block = Engine(counting_plan(keep=0.25), (SIDE, SIDE, 3), (4,)).all(numbered(9))
    wanted = [0.0, 0.75 * 1, 0.75 * 2 + 0.25 * 0.75]
    np.testing.assert_allclose(
        block.probabilities[:, 0] - np.arange(9), np.tile(wanted, 3), atol=1e-6
    )


def test_a_lone_image_waits_no_longer_than_it_may():
    """Its answer is there while the stream is still open."""
    over = threading.Event()

    def stream():
        yield numbered(1)[0]
        over.wait(20)

    begun = time.monotonic()
    answer = next(Engine(counting_plan(), (SIDE, SIDE, 3), (1, 64), 0.05)(stream()))
    assert answer.probabilities[0] == 0
    assert time.monotonic() - begun < 10
    over.set()


def test_a_slow_image_does_not_hold_others_for_ever():
    """The first image alone takes the last step; those behind it fill the ring, and the step runs
    with a batch of one.
    """
    batches = []

    def run(images):
        batches.append(len(images))
        return (np.ones((len(images), 1), np.float32), number_of(images))

    plan = Plan(
        [
            Step("a", run, lambda found: np.where(found[1] == 0, 1, DONE)),
            Step("b", run, lambda found: np.full(len(found[0]), DONE)),
        ]
    )
    engine = Engine(plan, (SIDE, SIDE, 3), (1, 2), np.inf)
    taken = 0

    def stream():
        nonlocal taken
        for image in numbered(2000):
            taken += 1
            yield image

    answers = engine(stream())
    assert next(answers).length == "b"
    assert taken <= engine.ahead + 2 * 2 + 1
    assert sum(1 for _ in answers) == 1999


def test_what_the_stream_raises_comes_after_the_answers_before_it():
    """A fault of the source isn't swallowed, nor does it lose what came before."""

    def stream():
        yield from numbered(5)
        raise OSError("the disk is gone")

    answers = Engine(counting_plan(), (SIDE, SIDE, 3), (2,), 0.0)(stream())
    found = []
    with pytest.raises(OSError, match="disk is gone"):
        found.extend(answer.index for answer in answers)
    assert found == list(range(5))


@pytest.mark.parametrize(
    ("sizes", "wait"), [((), 0), ((0, 4), 0), ((4,), -1), ((4,), float("nan"))]
)
def test_sizes_that_make_no_sense(sizes, wait):
    """One message."""
    with pytest.raises(UserError, match="positive sizes"):
        Engine(counting_plan(), (SIDE, SIDE, 3), sizes, wait)


@pytest.fixture(scope="module")
def predictor(variables_for):
    """A small ReViT with three lengths and random weights."""
    config = training()
    config.data.image_size = 16
    config.model.update(embed_dim=16, depth=1, num_heads=2)
    spec = build(config, 10)
    params = variables_for(spec.model, jnp.zeros((1, *spec.shape)), spec.grids[0])
    return Predictor(spec, params, tuple("0123456789"))


@pytest.fixture(scope="module")
def plans(predictor):
    """Its plans, whose programs of a whole length are compiled once."""
    return Plans(predictor)


@pytest.fixture(scope="module")
def known(predictor, plans):
    """Images, and what each length says of them by itself, cheapest first: probabilities
    (n, lengths, classes), features of all but the last (n, lengths - 1, features).
    """
    images = np.random.default_rng(1).integers(0, 256, (300, 16, 16, 3), np.uint8)
    lengths = [predictor.length(name) for name in plans.names]

    @jax.jit
    def run(variables, images):
        found = [one(own, images) for one, own in zip(lengths, variables, strict=True)]
        probabilities = jnp.stack([answer for answer, _ in found], axis=1)
        return probabilities, jnp.stack([features_of(*one) for one in found[:-1]], axis=1)

    return images, *(np.asarray(x) for x in run([one.variables for one in lengths], images))


def test_order_and_waiting_change_no_bit(plans, known):
    """At one padded shape, a cascade's answers are bitwise those of any other order and waiting
    bound; at others, equal to 1e-5.
    """
    rng = np.random.default_rng(0)
    images = known[0][:40]
    alone = known[1][:40].swapaxes(0, 1)
    sure = np.sort(alone[0].max(axis=1))
    threshold = float((sure[19] + sure[20]) / 2)
    plan = plans.cascade(threshold)
    wanted = Engine(plan, (16, 16, 3), (8,)).all(images)
    assert len(set(wanted.steps.tolist())) > 1
    for wait in (0.0, 0.002, np.inf):
        order = rng.permutation(40)
        answers = list(Engine(plan, (16, 16, 3), (8,), wait)(images[i] for i in order))
        np.testing.assert_array_equal(
            np.stack([a.probabilities for a in answers]), wanted.probabilities[order]
        )
        assert [a.length for a in answers] == [plans.names[step] for step in wanted.steps[order]]
    other = Engine(plan, (16, 16, 3), (3, 16)).all(images)
    # Confidences decide; those within 1e-4 of the threshold may go either way.
    clear = np.abs(alone[0].max(axis=1) - threshold) > 1e-4
    clear &= np.abs(alone[1].max(axis=1) - threshold) > 1e-4
    assert clear.sum() > 30
    np.testing.assert_array_equal(other.steps[clear], wanted.steps[clear])
    np.testing.assert_allclose(other.probabilities[clear], wanted.probabilities[clear], atol=1e-5)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_an_assigned_plan_is_what_calibration_simulated(plans, known, variables_for, start):
    """From each first length, over more images than the ring's first turn: lengths and
    probabilities of `FeatureAssigner.outcomes`.
    """
    images, probabilities, features = known
    answers = Answers(
        plans.names,
        np.zeros(300, int),
        probabilities,
        np.zeros((300, 8, 8, 3), np.uint8),
        features,
    )
    bare = make_assigner("shared", 8, "smallest", 8, 0.3, plans.costs)
    shown = example(bare.module, features.shape[-1], 8)
    params = tuple(variables_for(bare.module, shown, seed=stage) for stage in range(2))
    assigner = dataclasses.replace(bare, params=params, price=0.15, start=start)
    wanted = assigner.outcomes(answers, chances_of(assigner, answers), 0.15, start)
    engine = Engine(assigner.plan(plans), (16, 16, 3), (4,))
    assert engine.ahead < 300
    block = engine.all(images)
    # a choice between equals may go either way
    assert (block.steps == wanted.lengths).mean() > 0.99
    same = block.steps == wanted.lengths
    np.testing.assert_allclose(block.probabilities[same], wanted.probabilities[same], atol=1e-4)


@pytest.mark.parametrize("kind", ["shared", "cnn"])
def test_settings_of_one_assigner_share_programs(plans, known, variables_for, monkeypatch, kind):
    """They are traced once, and still each setting has its own lengths; other costs are another
    program.
    """
    images, _, features = known
    bare = make_assigner(kind, 8, "smallest", 8, 0.3, plans.costs)
    shown = example(bare.module, features.shape[-1], 8)
    params = tuple(
        variables_for(bare.module, shown, seed=stage) for stage in range(bare.num_stages(True))
    )
    traced = []
    choose = type(bare).choose

    def noted(self, params, price, inputs, at):
        traced.append(at)
        return choose(self, params, price, inputs, at)

    monkeypatch.setattr(type(bare), "choose", noted)

    def lengths_at(**setting):
        assigner = dataclasses.replace(bare, params=params, **setting)
        return Engine(assigner.plan(plans), (16, 16, 3), (8,)).all(images[:24]).steps

    free = lengths_at(price=0.0)
    once = len(traced)
    dear = lengths_at(price=5.0)
    assert len(traced) == once > 0
    assert not np.array_equal(free, dear)
    lengths_at(price=0.0, costs=tuple(2 * cost for cost in plans.costs))
    assert len(traced) > once


def test_memory_is_flat_over_ten_thousand_images(predictor):
    """Images are made as they are asked for, of many sizes; between the 3,000th and the 10,000th
    nothing is added to the process.
    """
    from vintk_jax.data.augment import Centre

    rng = np.random.default_rng(0)
    transform = Centre(16)

    def stream():
        for _ in range(10_000):
            side = int(rng.integers(16, 64))
            element = {
                "image": np.broadcast_to(np.uint8(rng.integers(256)), (side, side + 7, 3)).copy(),
                "label": 0,
            }
            yield transform(element, rng)["image"]

    memory = psutil.Process().memory_info
    engine = Engine(Plans(predictor).cascade(0.2), (16, 16, 3), (1, 8, 64), 0.01)
    at = 0
    engine.warm_up()
    for answer in engine(stream()):
        at = memory().rss if answer.index == 3000 else at
    assert answer.index == 9999
    assert memory().rss - at < 16 * 2**20
    assert jnp.isfinite(answer.probabilities).all()
