"""The check of a space finds what is broken, and says what."""

import dataclasses

import my_space
import numpy as np
import pytest

from vintk_jax.spaces import Cost, check, conformance, supernet_conformance
from vintk_jax.spaces.autoformer import AutoFormerSpace


@dataclasses.dataclass(frozen=True)
class Good(AutoFormerSpace):
    """A space that keeps its promises, all but multiply-adds as they are traced."""

    name: str = "good"
    embed_dim: tuple[int, ...] = (16, 24)
    depth: tuple[int, ...] = (1, 2)
    num_heads: tuple[int, ...] = (1, 2)
    mlp_ratio: tuple[float, ...] = (1.0, 1.5)


class OddOption(Good):
    def choices(self):
        return {**super().choices(), "embed_dim": ((16, 16), (24, 24))}


class Forgetful(Good):
    def encode(self, arch):
        return {k: v for k, v in super().encode(arch).items() if k != "depth"}


class Lossy(Good):
    def to_json(self, arch):
        return {**super().to_json(arch), "embed_dim": 16}


class Lenient(Good):
    def from_json(self, fields):
        return super().from_json(
            {**fields, "mlp_ratio": [1.0] * fields["depth"]}
            if "no such option" in fields["mlp_ratio"]
            else fields
        )


class Miscounted(Good):
    def cost(self, arch, image_size=224, num_classes=1000):
        return Cost(super().cost(arch, image_size, num_classes).params - arch.embed_dim, 0)


class Dear(Good):
    def cheapest(self):
        return max(self.enumerate(), key=self.cost)

    def least(self):
        return self.cost(self.cheapest())


class WrongSize(Good):
    def size(self):
        return 41


class Halves(Good):
    def masks(self, arch):
        return {**super().masks(arch), "embed": np.full(24, 0.5, np.float32)}


class Wide(Good):
    def masks(self, arch):
        return {name: mask.astype(float) for name, mask in super().masks(arch).items()}


class Uneven(Good):
    def masks(self, arch):
        return {**super().masks(arch), "embed": np.ones(arch.embed_dim, np.float32)}


class Raises(Good):
    def masks(self, arch):
        return {}[arch.depth]


class CountsOtherwise(Good):
    """A multiply-add too many."""

    def cost(self, arch, image_size=224, num_classes=1000):
        cost = super().cost(arch, image_size, num_classes)
        return cost._replace(flops=cost.flops + 1)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (OddOption, "got (16, 16) in choices()['embed_dim']"),
        (Forgetful, "encode and choices() differ in the decisions depth"),
        (Lossy, "from_json(to_json(arch))"),
        (Lenient, "InvalidArchitecture of from_json for mlp_ratio='no such option'"),
        (Miscounted, "parameters, the initialised model has"),
        (Dear, "has fewer params and flops than least() says"),
        (WrongSize, "size() is 41; enumerate() gives 40, 40 different"),
        (Halves, "zeros and ones in masks, got [0.0, 0.5, 1.0]"),
        (Wide, "Expected float32 masks, got float64"),
        (Uneven, "masks has 'embed' of ("),
        (Raises, "KeyError"),
    ],
)
def test_each_broken_promise_is_told(space, says):
    """One message, of the check that is for it, which comes in spite of the others."""
    findings = list(check.check(space(), num_samples=8, num_members=0, flops=False))
    assert any(finding.fault and says in finding.fault for finding in findings), findings


def test_a_good_space_has_no_fault():
    """Its multiply-adds are the trace's; one that counts otherwise is told so."""

    def faults(space):
        findings = check.check(space, num_samples=8, num_members=0)
        return [finding.fault for finding in findings if finding.fault]

    assert faults(Good()) == []
    (fault,) = faults(CountsOtherwise())
    assert "multiply-adds, the traced model makes" in fault


@pytest.fixture
def small(monkeypatch):
    """The example's space with fewer options, so that it compiles soon."""
    monkeypatch.setattr(my_space, "WIDTHS", (16, 24))
    monkeypatch.setattr(my_space, "DEPTHS", (1,))


class Leaky(my_space.MixedSpace):
    """Hidden units that the architecture doesn't have stay on."""

    def masks(self, arch):
        masks = super().masks(arch)
        return {**masks, "hidden": np.ones_like(masks["hidden"])}


def test_masks_that_leave_too_much_on(small):
    space = Leaky("leaky")
    arch = space.decode({**space.encode(space.example()), "mlp_ratio_0": 2})
    with pytest.raises(conformance.BrokenPromise, match="logits of the masked supernet"):
        supernet_conformance.supernet(space, [arch], 32)


class OtherParts(Good):
    """Parts whose blocks are halved."""

    def by_width(self):
        return {width: Good(embed_dim=(width,)) for width in self.embed_dim}

    def supernet(self, image_size=224, num_classes=1000, **options):
        return super().supernet(image_size, num_classes, residual_scale=0.5, **options)


def test_parts_that_are_other_models():
    space = OtherParts()
    with pytest.raises(conformance.BrokenPromise, match="supernet of width 16 are"):
        supernet_conformance.parts(space, [space.cheapest()], 32)


def test_a_rule_that_is_wrong(small, monkeypatch):
    """Half a share of every linear layer."""
    from vintk_jax.ntk import rules

    def half(module, call, args, kwargs, tap):
        return rules.dense(module, call, args, kwargs, tap.taking(tap.values / 2))

    monkeypatch.setitem(rules._RULES, my_space.nn.Dense, half)
    space = my_space.MixedSpace("wrong")
    with pytest.raises(conformance.BrokenPromise, match="structured kernel is"):
        supernet_conformance.kernel(space, [space.example()], 32)


def test_the_command_ends_with_1(capsys, monkeypatch):
    """And one line a promise."""

    def one_broken(*_):
        yield check.Finding("Kept.", None, 0.0)
        yield check.Finding("Not kept.", "Because.", 0.0)

    monkeypatch.setattr(check, "check", one_broken)
    with pytest.raises(SystemExit) as stopped:
        check.main(["check", "autoformer-tiny", "--samples", "3"])
    assert stopped.value.code == 1
    printed = capsys.readouterr().out
    assert "ok     Kept." in printed
    assert "BROKEN Not kept." in printed
    assert "Because." in printed
    assert "autoformer-tiny breaks 1 promise" in printed
