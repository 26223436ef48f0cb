"""What a space has by default, against spaces that have it by hand; and the messages of what can't
be.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import spaces
from vintk_jax.errors import UserError
from vintk_jax.searching.limits import Limits
from vintk_jax.spaces import SearchSpace, by_choices, leading_ones, of_blocks
from vintk_jax.spaces.autoformer import AutoFormerSpace
from vintk_jax.spaces.pit import PitSpace

MINI = AutoFormerSpace("mini", (16, 24), (1, 2), (1, 2), (1.0, 1.5))
MINI_PIT = PitSpace("mini-pit", (4, 6), (1, 2), ((1,), (1, 2), (1,)), (1, 2))


class Net(nn.Module):
    """A perceptron; `first` is the name of its first layer."""

    width: int
    depth: int
    num_classes: int
    first: str = "in"

    @nn.compact
    def __call__(self, images, masks=None):
        x = nn.Dense(self.width, name=self.first)(images.mean((1, 2)))
        for i in range(self.depth):
            x = nn.relu(nn.Dense(self.width, name=f"block_{i}")(x))
        return nn.Dense(self.num_classes, name="head")(x)


@dataclasses.dataclass(frozen=True)
class Perceptrons(SearchSpace):
    """The least that a space can be; `first` names the first layer of the supernet."""

    widths: tuple[int, ...] = (4, 6)
    first: str = "in"

    def choices(self):
        return {"width": self.widths, "depth": (1, 2), **of_blocks(2, act=("relu", "gelu"))}

    def model(self, arch, image_size=224, in_channels=3, num_classes=1000):
        return Net(arch.width, arch.depth, num_classes)

    def supernet(self, image_size=224, num_classes=1000, **options):
        return Net(6, 2, num_classes, self.first)

    def masks(self, arch):
        return {
            "inner": {"alive": leading_ones(arch.depth, 2)},
            "outer": {"alive": leading_ones([1, 0], 3)},
        }


SPACE = Perceptrons("perceptrons")


def test_an_architecture_is_made_of_the_choices():
    """Numbered decisions are a tuple, of which `depth` keeps so many; equal ones are one."""
    chosen = {"width": 4, "depth": 1, "act_0": "relu", "act_1": "gelu"}
    arch = SPACE.decode(chosen)
    assert (arch.width, arch.depth, arch.act) == (4, 1, ("relu",))
    assert arch == SPACE.decode({**chosen, "act_1": "relu"})
    assert SPACE.encode(arch) == {**chosen, "act_1": "relu"}
    assert SPACE.to_json(arch) == {"width": 4, "depth": 1, "act": ["relu"]}
    assert [len(SPACE.decode({**chosen, "depth": depth}).act) for depth in (1, 2)] == [1, 2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 5}, "perceptrons one of 4, 6, got width=5"),
        ({"act": ["relu", "tanh"]}, "perceptrons one of relu, gelu, got act='tanh' in place 1"),
        ({"act": ["relu"]}, "perceptrons 2 entries of act at depth=2, got 1"),
        ({"act": ["relu"] * 3}, "entries of act at depth=2, got 3"),
        ({"act": "relu"}, "got act='relu'"),
        ({"width": [4]}, "Expected one value"),
        ({"width": None}, "with width, depth, act, got one without width"),
        ({"heads": 3}, "with heads"),
    ],
)
def test_json_outside_the_space_is_refused(change, says):
    good = {"width": 4, "depth": 2, "act": ["relu", "gelu"]}
    assert SPACE.to_json(SPACE.from_json(good)) == good
    with pytest.raises(spaces.InvalidArchitecture) as caught:
        SPACE.from_json({k: v for k, v in {**good, **change}.items() if v is not None})
    assert says in str(caught.value)


def test_decisions_that_no_attribute_holds_are_named():
    with pytest.raises(UserError, match=r"'base_dim'.*override `encode`"):
        by_choices.encode(MINI_PIT, MINI.cheapest())


@pytest.mark.parametrize("space", [MINI, MINI_PIT], ids=["mini", "mini-pit"])
def test_counted_by_default_as_by_hand(space):
    """Members in number and kind, the least costs, and depth, as spaces with formulas of their own
    have them.
    """
    assert set(by_choices.combinations(space)) == set(space.enumerate())
    assert SearchSpace.size(space) == space.size() < len(list(space.enumerate())) + 1
    assert by_choices.descend(space, space.cost) == space.cheapest() == SearchSpace.cheapest(space)
    for arch in space.enumerate():
        assert by_choices.count_alive(space.masks(arch)) == space.total_depth(arch)


def test_the_least_of_each_is_not_one_architectures():
    """Where fewer parameters cost more multiply-adds, no architecture has the least of both, and a
    limit on either can still be met.
    """

    class Tradeoff(Perceptrons):
        def cost(self, arch, image_size=224, num_classes=1000):
            return spaces.Cost(arch.width, 100 // arch.width)

    space = Tradeoff("tradeoff")
    assert space.least() == (4, 16)
    assert space.cost(space.cheapest()) == (4, 25)
    Limits(max_flops_m=20e-6).check(space)
    with pytest.raises(UserError, match="can't be met"):
        Limits(max_flops_m=15e-6).check(space)


def test_costs_are_counted_once_and_only_where_a_limit_asks(monkeypatch):
    """By hand for a perceptron; a second time without building a model; not at all for limits that
    count nothing.
    """
    arch = SPACE.decode({"width": 6, "depth": 2, "act_0": "relu", "act_1": "relu"})
    assert SPACE.cost(arch, 32, 10) == (
        (3 + 1) * 6 + 2 * (6 + 1) * 6 + (6 + 1) * 10,
        3 * 6 + 2 * 36 + 60,
    )

    def counted_again(*_, **__):
        pytest.fail("counted again")

    monkeypatch.setattr(Perceptrons, "model", counted_again)
    assert SPACE.cost(arch, 32, 10).params == 178
    assert Limits(max_latency_ms=1.0).fits(SPACE, SPACE.example())
    Limits().check(SPACE)


def test_size_of_a_large_space_is_that_of_its_combinations():
    class Large(Perceptrons):
        def choices(self):
            return {"width": (4, 6), **of_blocks(20, act=("relu", "gelu"))}

    assert Large("large").size() == 2**21
    assert Large("large").width(Large("large").example()) == 0


def test_weights_are_cut_by_name(variables_for):
    """Leading entries; a layer of another name, or a wider one, is told."""
    images = jnp.zeros((1, 8, 8, 3))
    variables = jax.device_get(variables_for(SPACE.supernet(8, 3), images))
    arch = SPACE.decode({"width": 4, "depth": 1, "act_0": "relu", "act_1": "relu"})
    cut = SPACE.subnet(variables, arch)["params"]
    tree = variables["params"]
    assert jax.tree.map(jnp.shape, {"params": cut}) == jax.tree.map(
        jnp.shape, variables_for(SPACE.model(arch, 8, num_classes=3), images)
    )
    np.testing.assert_array_equal(cut["block_0"]["kernel"], tree["block_0"]["kernel"][:4, :4])
    np.testing.assert_array_equal(cut["head"]["bias"], tree["head"]["bias"])
    with pytest.raises(UserError, match=r"no weight in/(bias|kernel)"):
        Perceptrons("renamed", first="entry").subnet(variables, arch)
    with pytest.raises(UserError, match="can't be cut"):
        Perceptrons("wide", (8,)).subnet(variables, Perceptrons("wide", (8,)).example())


def test_depth_without_a_decision_is_the_live_blocks():
    class Fixed(Perceptrons):
        def choices(self):
            return {"width": (4, 6)}

        def masks(self, arch):
            return {
                "inner": {"alive": leading_ones(2, 3)},
                "outer": {"alive": leading_ones([1, 0], 3)},
            }

    assert Fixed("fixed").total_depth(Fixed("fixed").example()) == 3
