"""Images of several settings in shared batches, against each setting's own plan."""

import dataclasses
import threading

import jax.numpy as jnp
import numpy as np
import pytest
from exporting.test_hugging_face import IMAGES, assign, trained

from vintk_jax.adaptive import assigner_networks
from vintk_jax.adaptive.answers import thumbnails
from vintk_jax.adaptive.assigner_kinds import make_assigner
from vintk_jax.adaptive.by_setting import Setting, Settings, plan_by_setting
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import Predictor
from vintk_jax.inference.tickets import Tickets
from vintk_jax.spaces import conformance


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Plans of a tiny model of three lengths, and an assigner that reads its features."""
    workdir = tmp_path_factory.mktemp("by_setting") / "run"
    trained(workdir)
    return Plans(Predictor.load(workdir)), assign(workdir)


def by_thumbnail(plans):
    """An assigner of the other kind, at a price at which it uses more than one length."""
    bare = make_assigner("cnn", 8, "each", 8, 0.0, plans.costs)
    example = assigner_networks.example(bare.module, 0, 8)
    params = conformance.draw(bare.module, example, size=0.45, seed=3)
    chances = np.asarray(bare.chances(params, thumbnails(jnp.asarray(IMAGES), 8)))
    gains = (chances[:, 1:] - chances[:, :1]) / (np.array(plans.costs[1:]) - plans.costs[0])
    price = float(np.median(gains.max(axis=1)))
    return dataclasses.replace(bare, params=(params,), price=price)


def answered(plan, shape, numbers):
    """Probabilities and names of lengths, by a `Tickets` engine."""
    probabilities = np.zeros((len(numbers), 10), np.float32)
    names = [""] * len(numbers)

    def take(found, _):
        probabilities[found.indices] = found.probabilities
        for index, step in zip(found.indices.tolist(), found.steps.tolist()):
            names[index] = plan.steps[step].name

    engine = Tickets(plan, shape, (8,), 0.001, take)
    engine.submit("all", np.tile(IMAGES, (len(numbers) // len(IMAGES), 1, 1, 1)), numbers)
    engine.close()
    thread = threading.Thread(target=engine.run)
    thread.start()
    thread.join(60)
    return probabilities, names


@pytest.mark.parametrize("kind", ["features", "thumbnail", "none"])
def test_each_image_is_treated_by_its_own_setting(model, kind):
    """As if all had its setting: a price, another, and fixed lengths."""
    plans, assigner = model
    if kind == "thumbnail":
        assigner = by_thumbnail(plans)
    asked = [Setting(number, fixed=True) for number in range(3)]
    if kind != "none":
        asked += [Setting(0, assigner.price), Setting(0, assigner.price / 3)]
    if kind == "features":
        asked.append(Setting(1, assigner.price / 2))
    settings = Settings()
    numbers = np.tile([settings.number(one) for one in asked], len(IMAGES))
    numbers = numbers.reshape(len(IMAGES), len(asked)).T.ravel()
    plan = plan_by_setting(plans, None if kind == "none" else assigner, settings)
    probabilities, names = answered(plan, plans.shape, numbers)
    used = set()
    for i, one in enumerate(asked):
        own = plans.fixed(plans.names[one.start])
        if not one.fixed:
            own = dataclasses.replace(assigner, price=one.price, start=one.start).plan(plans)
        block = Engine(own, plans.shape, (8,)).all(IMAGES)
        part = slice(i * len(IMAGES), (i + 1) * len(IMAGES))
        assert names[part] == [own.steps[step].name for step in block.steps]
        np.testing.assert_allclose(probabilities[part], block.probabilities, atol=1e-5)
        if not one.fixed:
            used |= set(names[part])
    assert kind == "none" or len(used) > 1


def test_settings_keep_their_numbers():
    """Also when more come."""
    settings = Settings()
    first = settings.number(Setting(1, 0.5))
    fixed = settings.number(Setting(2, fixed=True))
    assert settings.number(Setting(1, 0.5)) == first
    np.testing.assert_array_equal(settings.starts(np.array([first, fixed])), [1, 2])
    assert settings.prices(np.array([first]))[0] == 0.5
    assert settings.prices(np.array([fixed]))[0] > 1e3
