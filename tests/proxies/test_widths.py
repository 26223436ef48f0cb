"""Supernets by width: which there are, and which one an architecture gets."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_space import S3, SPACE

from vintk_jax.errors import UserError
from vintk_jax.proxies.base import Measurement
from vintk_jax.proxies.scorer import Scorer
from vintk_jax.proxies.supernet import KernelSettings, Supernet
from vintk_jax.proxies.widths import Widths
from vintk_jax.spaces.autoformer import AutoFormerSpace
from vintk_jax.spaces.parts import leading_entries


def supernet_of(space):
    """On two images of noise."""
    images = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype(np.float32)
    return Supernet(space, {"plain": images}, KernelSettings(num_classes=3), seed=0)


@pytest.mark.parametrize(
    ("most", "widths"), [(1, [40]), (2, [24, 40]), (3, [20, 24, 40]), (5, [16, 20, 24, 28, 40])]
)
def test_some_of_many_widths(most, widths):
    """The widest is always there; an architecture gets the first that is wide enough."""
    space = dataclasses.replace(SPACE, embed_dim=(16, 20, 24, 28, 40))
    chosen = Widths(supernet_of(space), most)
    assert len(chosen) == len(widths)
    for width in space.embed_dim:
        arch = dataclasses.replace(space.cheapest(), embed_dim=width)
        place = chosen.place(arch)
        assert chosen.model(place).embed_dim == min(w for w in widths if w >= width)


def test_a_space_without_parts_has_the_whole_one():
    widths = Widths(supernet_of(S3), 4)
    assert len(widths) == 1
    assert widths.place(S3.cheapest()) == 0


@dataclasses.dataclass(frozen=True)
class Halved(AutoFormerSpace):
    """A user's space with another supernet."""

    def supernet(self, image_size=224, num_classes=1000, **options):
        return super().supernet(image_size, num_classes, residual_scale=0.5, **options)


@dataclasses.dataclass(frozen=True)
class WithParts(Halved):
    def by_width(self):
        return super().by_width()


@pytest.mark.parametrize(("kind", "count"), [(Halved, 1), (WithParts, 2)])
def test_a_users_subclass_has_parts_where_it_says_so(kind, count):
    space = kind("halved", (16, 24), (1,), (1,), (1.0,))
    assert len(Widths(supernet_of(space), 4)) == count


@dataclasses.dataclass(frozen=True)
class OtherParts(AutoFormerSpace):
    """A user's space whose parts are other models."""

    def by_width(self):
        return {width: Halved("halved", (width,), (1,), (1,), (1.0,)) for width in self.embed_dim}


def test_parts_that_are_other_models_are_refused():
    """Ahead of the first score."""
    supernet = supernet_of(OtherParts("other", (16, 24), (1,), (1,), (1.0,)))
    with pytest.raises(UserError, match="supernet of width 16 are"):
        Scorer(supernet, [Measurement("plain", "kernel")], batch_size=2).compile()


@dataclasses.dataclass(frozen=True)
class SomeParts(AutoFormerSpace):
    """A user's space with a part of some widths only."""

    def by_width(self):
        parts = super().by_width()
        return {16: parts[16], 24: parts[24]}


def test_a_width_without_a_part_is_computed_in_the_whole():
    """A narrow one and a wide one."""
    space = SomeParts("some", (12, 16, 24, 40), (1,), (1,), (1.0,))
    widths = Widths(supernet_of(space), 4)
    places = [
        widths.place(dataclasses.replace(space.cheapest(), embed_dim=width))
        for width in space.embed_dim
    ]
    assert [widths.model(place).embed_dim for place in places] == [40, 16, 40, 40]
    # The check ahead of the first score is of a part that there is.
    Scorer(supernet_of(space), [Measurement("plain", "kernel")], batch_size=2).compile()


@dataclasses.dataclass(frozen=True)
class Deeper(AutoFormerSpace):
    """A user's space whose parts have more blocks than the whole."""

    def by_width(self):
        return {
            width: dataclasses.replace(self, embed_dim=(width,), depth=(2,))
            for width in self.embed_dim
        }


def test_parts_with_other_weights_are_refused():
    """By a message, ahead of the first score."""
    supernet = supernet_of(Deeper("deeper", (16, 24), (1,), (1,), (1.0,)))
    with pytest.raises(UserError, match="width 16 has other weights than the whole one"):
        Scorer(supernet, [Measurement("plain", "kernel")], batch_size=2).compile()


def test_a_kernel_is_computed_at_its_architectures_width(monkeypatch):
    """By the columns of the models that are traced, and not at one width for all."""
    scorer = Scorer(supernet_of(SPACE), [Measurement("plain", "kernel")], batch_size=2)
    traced = []
    model = Widths.model

    def noted(self, place, **options):
        traced.append(model(self, place, **options).embed_dim)
        return model(self, place, **options)

    monkeypatch.setattr(Widths, "model", noted)
    scorer.compile()
    assert set(traced) == {16, 24}


@pytest.mark.parametrize("wanted", [(3,), (2, 5), (3, 4)])
def test_what_can_not_be_cut_is_refused(wanted):
    """Other axes; more entries than there are."""
    like = jax.ShapeDtypeStruct(wanted, np.float32)
    with pytest.raises(ValueError, match="entries to cut from"):
        leading_entries(np.zeros((7, 2, 4)), like, axes=1)
