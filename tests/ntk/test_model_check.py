"""Models that a sum of shares gets wrong, or that no rule covers, are refused by name."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from one_layer import Around, normal, structured_kernel

from vintk_jax import ntk
from vintk_jax.ntk import rules, structured
from vintk_jax.ntk.intercepting import UnsupportedModel
from vintk_jax.ntk.model_check import Structure, check_model

F32 = np.dtype("float32")


def unchecked_kernel(model, variables, x, directions):
    """The sum of shares of a model that `ntk.kernel` would refuse."""

    @jax.jit
    def run(v, x, d):
        unchecked = Structure(d.shape[:-1], {}, {})
        return structured.kernel(model.apply, v, x, d, unchecked, F32)

    return run(variables, x, directions)


class CalledTwice(nn.Module):
    @nn.compact
    def __call__(self, x):
        shared = nn.Dense(x.shape[-1], name="shared")
        return jnp.tanh(shared(jnp.tanh(shared(x))))


class OneStep(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return jnp.tanh(nn.Dense(x.shape[-1], name="shared")(x)), None


class SharedOverDepth(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.scan(
            OneStep, variable_broadcast="params", split_rngs={"params": False}, length=3
        )(name="loop")(x, None)[0]


class Tied(nn.Module):
    """A language model's weight tying: by `attend`, by the table itself, or by reading another
    module's variables.
    """

    by: str

    def setup(self):
        self.table = nn.Embed(5, 4)
        self.mix = nn.Dense(4)

    def __call__(self, x):
        tokens = jnp.round(jnp.abs(3 * x)).astype(int) % 5
        h = jnp.tanh(self.mix(self.table(tokens).mean(1)))
        if self.by == "attend":
            return self.table.attend(h)
        if self.by == "table":
            return h @ self.table.embedding.T
        return h @ self.table.variables["params"]["embedding"].T


class NoRule(nn.Module):
    @nn.compact
    def __call__(self, x):
        return jnp.tanh(nn.Dense(3)(x)) * self.param("gate", nn.initializers.ones, (3,))


class Narrower(nn.Dense):
    """A subclass may compute something else, so the rule of its parent doesn't count."""


class Normalised(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.BatchNorm(use_running_average=True, name="batch_norm")(x))


REFUSED = {
    "a Dense called twice": (CalledTwice(), "shared", "2 times"),
    "a Dense shared over depth": (SharedOverDepth(), "loop/shared", "3 times"),
    "weights tied by attend": (Tied("attend"), "table", "attend"),
    "a parameter of one's own": (NoRule(), "top-level", "gate"),
    "a subclass": (nn.Sequential([Narrower(3)]), "layers_0", "no rule"),
    "batch normalisation": (Normalised(), "batch_norm", "no rule"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_the_module(name, variables_for):
    """Refused with the module and the reason, before anything is computed, and under jit too."""
    model, module, reason = REFUSED[name]
    x = normal(4, 3)
    variables = variables_for(model, x)
    for run in (ntk.kernel, structured_kernel):
        with pytest.raises(UnsupportedModel) as caught:
            run(model, variables, x)
        assert module in str(caught.value)
        assert reason in str(caught.value)


@pytest.mark.parametrize("by", ["table", "variables"])
def test_parameters_read_outside_their_rule_are_refused(
    by, variables_for, jacobian_kernel, relative_error
):
    """Tying that never calls a method of the tied module: the sum of shares is wrong, so the model
    is refused by name.
    """
    model = Tied(by)
    x = normal(4, 3)
    variables = variables_for(model, x)
    ones = np.ones((5, 1), np.float32)
    naive = unchecked_kernel(model, variables, x, ones)
    assert relative_error(naive, jacobian_kernel(model.apply, variables, x, ones)) > 0.01
    with pytest.raises(UnsupportedModel, match="table"):
        ntk.kernel(model, variables, x)


@pytest.mark.parametrize("name", ["a Dense called twice", "a Dense shared over depth"])
def test_without_the_check_the_sum_is_wrong(name, variables_for, jacobian_kernel, relative_error):
    """What the check is for: the shares of each use, added up, miss the cross terms;
    neural-tangents has them.
    """
    model = REFUSED[name][0]
    x = normal(4, 3)
    variables = variables_for(model, x)
    v = np.ones((3, 1), np.float32)
    wanted = jacobian_kernel(model.apply, variables, x, v)
    assert relative_error(unchecked_kernel(model, variables, x, v), wanted) > 0.01
    exact = structured_kernel(model, variables, x, implementation="neural_tangents")
    assert relative_error(exact, wanted) < 1e-5


class Twice(nn.Module):
    """A layer that uses its own parameters twice."""

    @nn.compact
    def __call__(self, x):
        w = self.param("w", nn.initializers.normal(), (x.shape[-1],) * 2)
        b = self.param("b", nn.initializers.zeros, (x.shape[-1],))
        return jnp.tanh(jnp.tanh(x @ w) @ w + b)


def test_a_registered_layer_may_use_its_parameters_twice(
    monkeypatch, variables_for, jacobian_kernel, relative_error
):
    """`per_sample` joins the uses within one call: refused before it is registered, exact after."""
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    model = Around(nn.Sequential([nn.Dense(4), Twice(), nn.Dense(2)]))
    x = normal(4, 3, 3)
    variables = variables_for(model, x)
    with pytest.raises(UnsupportedModel, match="layers_1"):
        ntk.kernel(model, variables, x)
    rules.register(Twice, rules.per_sample)
    wanted = jacobian_kernel(model.apply, variables, x, np.ones((3, 1)))
    assert relative_error(structured_kernel(model, variables, x), wanted) < 1e-5


def test_a_check_traces_a_layer_once(monkeypatch, variables_for):
    """Its second trace, of what is read outside of layers, takes their shapes from the first."""
    traced = []

    class Counted(Twice):
        def __call__(self, x):
            traced.append(x.shape)
            return super().__call__(x)

    monkeypatch.setattr(rules, "_RULES", {**rules._RULES, Counted: rules.per_sample})
    model = Around(nn.Sequential([Counted(), nn.Dense(2), Counted()]))
    x = jnp.ones((4, 3, 3))
    variables = variables_for(model, x)
    traced.clear()
    assert check_model(model.apply, variables, x).outputs == (3,)
    assert [shape[1:] for shape in traced] == [(3, 3), (3, 2)]


class SamplesNotFirst(nn.Module):
    """A layer on (tokens, samples, features): with as many tokens as samples no shape tells."""

    @nn.compact
    def __call__(self, x):
        return jnp.tanh(nn.Dense(3, name="swapped")(x.swapaxes(0, 1))).mean(0)


@pytest.mark.parametrize("tokens", [4, 5])
def test_samples_on_another_axis_are_refused(tokens, variables_for):
    """A layer whose first axis isn't the samples is named."""
    x = normal(4, tokens, 2)
    with pytest.raises(UnsupportedModel, match="swapped"):
        ntk.kernel(SamplesNotFirst(), variables_for(SamplesNotFirst(), x), x)


def test_an_input_by_keyword_is_refused_with_what_to_do(variables_for):
    class ByKeyword(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2, name="last")(inputs=x)

    x = jnp.ones((2, 3))
    with pytest.raises(UnsupportedModel, match=r"last.*keyword.*by position"):
        structured_kernel(ByKeyword(), variables_for(ByKeyword(), x), x)
