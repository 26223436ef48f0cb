"""Plans of a model with a length by region: what the first pass knew goes along with the image."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from adaptive.test_by_setting import by_thumbnail

from vintk_jax.adaptive.answers import Answers, features_of
from vintk_jax.adaptive.assigner_kinds import make_assigner
from vintk_jax.adaptive.assigner_networks import example
from vintk_jax.adaptive.by_setting import Setting, Settings, lengths_of_steps, plan_by_setting
from vintk_jax.adaptive.calibration import cascade_outcomes, chances_of
from vintk_jax.defaults.training import training
from vintk_jax.errors import UserError
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import Predictor
from vintk_jax.inference.tickets import Tickets
from vintk_jax.models.passes import at_lengths, drawn
from vintk_jax.spaces import conformance
from vintk_jax.tasks.classification import build
from vintk_jax.tasks.objectives import Classification, normalise
from vintk_jax.tasks.teachers import with_patch_labels

IMAGES = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 3), np.uint8)
NAMES = ("4", "4+10", "16")


def config_of(**model):
    config = training()
    config.data.image_size = 16
    config.model.update(
        embed_dim=16, depth=1, num_heads=2, pool="mean", lengths=(4, 2), regions=(2,)
    )
    config.model.update(model)
    return config


@pytest.fixture(scope="module")
def spec():
    return build(config_of(), 10)


@pytest.fixture(scope="module")
def params(spec):
    """Drawn, so that the second pass adds something."""
    images = jnp.zeros((1, *spec.shape))
    shapes = jax.eval_shape(
        partial(drawn, spec.model, lengths=spec.grids), jax.random.key(0), images
    )
    rng = np.random.default_rng(3)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.3, leaf.shape).astype(np.float32)), shapes
    )


@pytest.fixture(scope="module")
def plans(spec, params):
    return Plans(Predictor(spec, params, tuple("0123456789")))


@pytest.fixture(scope="module")
def said(spec, params):
    """What the model itself says at each length, cheapest first."""
    answers = at_lengths(spec.model, params, normalise(jnp.asarray(IMAGES)), spec.grids[::-1])
    return np.stack([jax.nn.softmax(one) for one in answers], axis=1)


def test_costs_are_of_each_pass_and_of_all(plans):
    """The longest's own is 1; a way of two passes costs both."""
    assert plans.names == NAMES
    own = plans.costs
    assert own[0] < own[2] == 1
    np.testing.assert_allclose(plans.costs_alone, [own[0], own[0] + own[1], 1])
    assert [plans.can_start_at(number) for number in range(3)] == [True, False, True]


@pytest.mark.parametrize("name", NAMES)
def test_fixed_lengths_say_what_the_model_says(plans, said, name):
    """By the engine, in batches that aren't full, too."""
    block = Engine(plans.fixed(name), plans.shape, (3, 8)).all(IMAGES)
    np.testing.assert_allclose(block.probabilities, said[:, NAMES.index(name)], atol=1e-5)
    paid = block.passes @ np.array(plans.paid_fixed(name)) / len(IMAGES)
    assert paid == pytest.approx(plans.paid_alone[NAMES.index(name)])


def test_each_image_at_a_length_given_beforehand(plans, said):
    """Those by region have their first pass."""
    lengths = np.random.default_rng(0).integers(0, 3, len(IMAGES))
    block = Engine(plans.known(lengths), plans.shape, (4,)).all(IMAGES)
    np.testing.assert_allclose(
        block.probabilities, said[np.arange(len(IMAGES)), lengths], atol=1e-5
    )
    paid = block.passes @ np.array(plans.paid_one_each)
    assert paid == pytest.approx(plans.paid_alone[lengths].sum())


def test_a_cascade_carries_what_the_first_pass_knew(plans, said):
    """Whatever the order and the wait."""
    sure = said.max(axis=2)

    def ended(threshold):
        return np.where(sure[:, 0] >= threshold, 0, np.where(sure[:, 1] >= threshold, 1, 2))

    between = np.sort(sure[:, :2].ravel())
    thresholds = (between[1:] + between[:-1]) / 2
    threshold = float(max(thresholds, key=lambda one: np.bincount(ended(one), minlength=3).min()))
    lengths = ended(threshold)
    assert set(lengths.tolist()) == {0, 1, 2}
    wanted = said[np.arange(len(IMAGES)), lengths]
    for wait in (0.0, np.inf):
        order = np.random.default_rng(2).permutation(len(IMAGES))
        engine = Engine(plans.cascade(threshold), plans.shape, (8,), wait)
        answers = list(engine(IMAGES[i] for i in order))
        found = np.stack([answer.probabilities for answer in answers])
        np.testing.assert_allclose(found, wanted[order], atol=1e-5)


@pytest.mark.parametrize("start", [0, 2])
def test_a_cascade_that_blends_is_what_calibration_simulated(plans, said, start):
    """From each length that an image may begin at."""
    answers = answers_of(plans, said)
    threshold = float(np.quantile(said.max(axis=2), 0.6))
    wanted = cascade_outcomes(answers, threshold, start, 0.4)
    plan = plans.cascade(threshold, start, 0.4)
    block = Engine(plan, plans.shape, (8,)).all(IMAGES)
    same = block.steps == wanted.lengths
    assert same.mean() > 0.9
    np.testing.assert_allclose(block.probabilities[same], wanted.probabilities[same], atol=1e-5)


@pytest.fixture(scope="module")
def assigner(plans, said):
    """One that reads features, at a price at which images end at several lengths."""
    bare = make_assigner("shared", 8, "each", 8, 0.3, plans.costs)
    shown = example(bare.module, 2 * 16 + 10, 8)
    params = tuple(conformance.draw(bare.module, shown, size=0.4, seed=i) for i in range(2))
    bare = dataclasses.replace(bare, params=params)
    answers = answers_of(plans, said)
    chances = chances_of(bare, answers)

    def least(price):
        ends = bare.outcomes(answers, chances, price).lengths
        return np.bincount(ends, minlength=3)[:2].min()

    return dataclasses.replace(bare, price=float(max(np.linspace(-1, 1, 81), key=least)))


def answers_of(plans, said):
    """As `assign` keeps them."""
    features = []
    for name in NAMES[:-1]:
        length = plans.lengths[NAMES.index(name)]
        features.append(features_of(*length(length.variables, jnp.asarray(IMAGES))))
    small = np.zeros((len(IMAGES), 8, 8, 3), np.uint8)
    labels = np.zeros(len(IMAGES), int)
    return Answers(NAMES, labels, said, small, np.stack(features, axis=1))


def test_an_assigned_plan_is_what_calibration_simulated(plans, said, assigner):
    """From the first length on."""
    answers = answers_of(plans, said)
    wanted = assigner.outcomes(answers, chances_of(assigner, answers), assigner.price)
    block = Engine(assigner.plan(plans), plans.shape, (4,)).all(IMAGES)
    assert set(wanted.lengths.tolist()) >= {0, 1}
    assert (block.steps == wanted.lengths).mean() > 0.9
    same = block.steps == wanted.lengths
    np.testing.assert_allclose(block.probabilities[same], wanted.probabilities[same], atol=1e-4)


@pytest.mark.parametrize("kind", ["features", "thumbnail", "none"])
def test_settings_of_a_service(plans, assigner, kind):
    """Each image by its own setting, as if all had it."""
    if kind == "thumbnail":
        assigner = by_thumbnail(plans)
    asked = [Setting(number, fixed=True) for number in range(3)]
    if kind != "none":
        asked.append(Setting(0, assigner.price))
    settings = Settings()
    numbers = np.repeat([settings.number(one) for one in asked], len(IMAGES))
    plan = plan_by_setting(plans, None if kind == "none" else assigner, settings)
    found = np.zeros((len(numbers), 10), np.float32)
    steps = np.zeros(len(numbers), int)

    def take(answered, _):
        found[answered.indices] = answered.probabilities
        steps[answered.indices] = answered.steps

    engine = Tickets(plan, plans.shape, (8,), 0.001, take)
    engine.submit("all", np.tile(IMAGES, (len(asked), 1, 1, 1)), numbers)
    engine.close()
    engine.run()
    lengths = lengths_of_steps(plan, plans.names)[steps]
    for i, one in enumerate(asked):
        own = plans.fixed(plans.names[one.start])
        if not one.fixed:
            own = dataclasses.replace(assigner, start=one.start).plan(plans)
        block = Engine(own, plans.shape, (8,)).all(IMAGES)
        part = slice(i * len(IMAGES), (i + 1) * len(IMAGES))
        np.testing.assert_allclose(found[part], block.probabilities, atol=1e-5)
        np.testing.assert_array_equal(
            lengths[part], lengths_of_steps(own, plans.names)[block.steps]
        )


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"regions": (0,)}, "different numbers of the shortest length's 4 tokens"),
        ({"regions": (2, 2)}, "different numbers"),
        ({"lengths": (4, 3)}, "a length of 6 tokens a side"),
        ({"regions": (3,)}, "fewer tokens than the longest length's 16, got 4\\+13"),
        ({"pool": "token"}, "pool=mean"),
    ],
)
def test_regions_that_do_not_fit_are_refused(model, said):
    """With what fits."""
    with pytest.raises(UserError, match=said):
        build(config_of(**model), 10)


def test_token_labelling_of_regions_is_refused(spec):
    """They have no map of patches."""
    config = config_of()
    config.loss.teacher = "runs/teacher"
    with pytest.raises(UserError, match=r"Expected model\.regions=\(\)"):
        with_patch_labels(Classification(10), config, spec, tuple("0123456789"))
