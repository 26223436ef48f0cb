"""Which layer a weight is in: by the order in which a model runs, not by names."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from vintk_jax import spaces
from vintk_jax.errors import UserError
from vintk_jax.models import layer_decay
from vintk_jax.training.optimizer import make_optimizer

SPACES = ("autoformer-tiny", "pit", "s3", "seg-mini", "cifar-vit", "nasbench201", "lvvit")


def traced(name):
    """A member of a space, its variables' shapes, and its modules in the order of their calls."""
    space = spaces.get(name)
    size = 32 if name == "cifar-vit" else 64
    model = space.model(space.sample(np.random.default_rng(1)), size, num_classes=4)
    order = []

    def record(call, arguments, named, context):
        if context.method_name == "__call__":
            order.append("/".join(context.module.path))
        return call(*arguments, **named)

    with nn.intercept_methods(record):
        image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
        shapes = jax.eval_shape(model.init, jax.random.key(0), image)
    return model, shapes, order


@pytest.mark.parametrize("name", SPACES)
def test_layers_follow_the_order_of_the_calls(name):
    """Every weight is in one layer, and a module that runs later is in no earlier one: what leads
    from stage to stage is neither the embedding nor the head.
    """
    model, shapes, order = traced(name)
    of_weight = {
        "/".join(path): layer_decay.places(model.layers, path)
        for path in flatten_dict(shapes["params"])
    }
    assert all(len(holders) == 1 for holders in of_weight.values())
    assert {holders[0] for holders in of_weight.values()} == set(range(len(model.layers)))
    in_order = []
    for module in order:
        of_module = {
            holders[0] for path, holders in of_weight.items() if path.rpartition("/")[0] == module
        }
        in_order += sorted(of_module)
    assert in_order == sorted(in_order)


def test_a_reduction_has_the_rate_of_the_block_behind_it():
    """decay^(layers above), by hand, for the last pooling and the last merging."""
    for name, between in (("pit", "pool_2"), ("s3", "merge_3")):
        model, shapes, _ = traced(name)
        rates = layer_decay.scales(shapes, 0.5, model.layers)["params"]
        blocks = model.depths[-1]
        assert {float(rate) for rate in jax.tree.leaves(rates[between])} == {0.5**blocks}
        assert float(rates["head"]["bias"]) == 1
        assert float(jax.tree.leaves(rates["patch_embed"])[0]) == 0.5 ** (len(model.layers) - 1)


def test_an_unknown_weight_or_model_is_refused():
    """A rate that isn't known is not guessed."""
    with pytest.raises(UserError, match="name none for its weight neck/kernel"):
        layer_decay.scales({"neck": {"kernel": jnp.zeros(3)}}, 0.5, (("stem",), ("head",)))
    shared = {"weight_decay": 0.0, "beta2": 0.9, "clip_norm": 0}
    with pytest.raises(UserError, match=r"no property `layers`.*layer_decay=1"):
        make_optimizer(
            {"kernel": jnp.zeros(3)},
            optax.constant_schedule(0.1),
            name="adamw",
            layer_decay=0.5,
            **shared,
        )
