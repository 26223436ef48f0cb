"""One quantity, one definition: multiply-adds are those of the model's own products, everywhere."""

import json

import jax
import jax.numpy as jnp
import ml_collections
import pytest

from vintk_jax import multiply_adds, proxies, spaces
from vintk_jax.errors import UserError
from vintk_jax.workdir.config_claims import claim_workdir


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("autoformer-tiny", 224),
        ("autoformer-small", 64),
        ("pit", 96),
        ("seg-small", 100),
        ("seg-mini", (180, 240)),
        ("cifar-vit", 32),
    ],
)
def test_cost_is_the_count_of_the_model(name, size):
    """Relative positions, depth-wise convolutions and upsampling included."""
    space = spaces.get(name)
    arch = space.cheapest()
    sides = (size, size) if isinstance(size, int) else size
    image = jax.ShapeDtypeStruct((1, *sides, 3), jnp.float32)
    model = space.model(arch, size, num_classes=10)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    counted = multiply_adds.multiply_adds(model.apply, variables, image)
    assert space.cost(arch, size, num_classes=10).flops == counted


def test_the_smallest_autoformer_costs_what_was_counted():
    """The figure of the compiled program that the fault was found with."""
    space = spaces.get("autoformer-tiny")
    assert space.cost(space.cheapest()).flops == 1_300_291_824


def test_a_study_of_another_definition_is_not_mixed_with_this_one(tmp_path):
    """One that was begun before says why it can't go on; nothing of it is changed."""
    config = ml_collections.ConfigDict({"space": "pit"})
    now = {"multiply_adds": multiply_adds.DEFINITION}
    claim_workdir(tmp_path, "search", config, (), now)
    claim_workdir(tmp_path, "search", config, (), now)
    path = tmp_path / "search.config.json"
    old = {key: value for key, value in json.loads(path.read_text()).items() if key == "space"}
    path.write_text(json.dumps(old))
    with pytest.raises(UserError, match=r"multiply adds follow definition 1.*another --workdir"):
        claim_workdir(tmp_path, "search", config, (), now)
    assert json.loads(path.read_text()) == old


def test_scores_of_the_former_vintk_are_not_mixed_with_those_of_now(tmp_path):
    """A workdir that says nothing of its score's definition was made by the first one."""
    config = ml_collections.ConfigDict({"space": "pit"})
    claim_workdir(tmp_path, "search", config, ())
    now = proxies.definitions([proxies.get("vintk"), proxies.get("params")])
    with pytest.raises(UserError, match=r"scores by vintk follow definition 1"):
        claim_workdir(tmp_path, "search", config, (), now)
    unchanged = proxies.definitions([proxies.get("ntk_cond"), proxies.get("params")])
    claim_workdir(tmp_path, "search", config, (), unchanged)
