"""The kernel refuses what it would get wrong, or is right."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax import ntk
from vintk_jax.errors import UserError
from vintk_jax.ntk import definition, rules
from vintk_jax.spaces import conformance

MODEL = nn.Dense(3)
X = jnp.asarray(np.random.default_rng(0).standard_normal((4, 5)), jnp.float32)
PARAMS = conformance.draw(MODEL, X)


@pytest.mark.parametrize("call", [ntk.kernel, ntk.by_layer])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 0), (), (2, 1), (3, 1, 1)])
def test_directions_of_other_shapes(call, shape):
    """Are not stretched to fit."""
    with pytest.raises(UserError, match=r"Expected directions of shape \(3, count\), got"):
        call(MODEL, PARAMS, X, cotangent=jnp.ones(shape))


def test_no_directions():
    """Their mean would be NaN."""
    with pytest.raises(UserError, match="num_directions of 1 at least, got 0"):
        ntk.kernel(MODEL, PARAMS, X, cotangent="random", key=jax.random.key(0), num_directions=0)


@pytest.mark.parametrize("implementation", ["structured", "neural_tangents"])
@pytest.mark.parametrize(
    ("apply", "words"),
    [
        (lambda params, x: (MODEL.apply(params, x), x), "output is one array, got a tuple"),
        (lambda params, x: {"logits": MODEL.apply(params, x)}, "one array, got a dict"),
        (
            lambda params, x: MODEL.apply(params, x).T,
            r"samples on their first axis, got shape \(3, ",
        ),
        (lambda params, x: MODEL.apply(params, x).sum(), r"first axis, got shape \(\)"),
    ],
)
def test_outputs_that_are_no_array_by_sample(implementation, apply, words):
    """Say what to give instead."""
    with pytest.raises(UserError, match=words):
        ntk.kernel(apply, PARAMS, X, implementation=implementation)


@pytest.mark.parametrize("chunk", [0, -2])
def test_chunks_of_nothing(chunk):
    """None is for all."""
    with pytest.raises(UserError, match="chunk of 1 sample at least, or None"):
        ntk.kernel(MODEL, PARAMS, X, chunk=chunk)


class Text(nn.Module):
    """Tokens to classes."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(7, 4, name="embed")(tokens)
        return nn.Dense(3, name="head")(x.mean(axis=1))


def test_integer_inputs():
    """Tokens stay integers; the kernel is the Jacobian's."""
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 7, (4, 6)))
    params = conformance.draw(Text(), tokens)

    def summed(params, tokens):
        return Text().apply(params, tokens.astype(int)).sum(axis=1)

    jacobian = definition.jacobian(summed, params, tokens)
    wanted = definition.kernel(jacobian, np.ones((1, 1)))
    found = ntk.kernel(Text(), params, tokens)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


class Lanes(nn.Module):
    """A layer mapped over lanes of the features, once or twice, its parameters shared or not."""

    shared: bool
    times: int = 1

    @nn.compact
    def __call__(self, x):
        lanes = x.reshape(len(x), 3, -1)
        axes = {"params": None if self.shared else 0}
        mapped = nn.vmap(
            Twice, in_axes=1, out_axes=1, variable_axes=axes, split_rngs={"params": not self.shared}
        )
        return mapped(self.times, name="lanes")(lanes).sum(axis=1)


class Twice(nn.Module):
    """One Dense, used so many times."""

    times: int

    @nn.compact
    def __call__(self, x):
        layer = nn.Dense(x.shape[-1], name="dense")
        for _ in range(self.times):
            x = jnp.tanh(layer(x))
        return x


class Conditioned(nn.Module):
    """A layer of two arguments with a row for each sample."""

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(4, name="first")(x)
        y = Gate(name="by_place")(y, jnp.sin(x[:, :4]))
        return nn.Dense(3, name="head")(Gate(name="by_name")(y, condition=jnp.cos(x[:, 1:])))


class Gate(nn.Module):
    """Multiplies by a condition of each sample; registered by `per_sample`."""

    @nn.compact
    def __call__(self, x, condition):
        weight = self.param("weight", nn.initializers.normal(1.0), (x.shape[-1],))
        return jnp.tanh(x * (condition @ jnp.outer(weight, weight)))


class Mixing(nn.Module):
    """The samples' mean is taken off: a batch statistic."""

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(3)(x)
        return jnp.tanh(y - y.mean(axis=0))


class Stopped(nn.Module):
    """A layer whose parameters no gradient reaches."""

    @nn.compact
    def __call__(self, x):
        frozen = nn.map_variables(
            nn.Dense,
            "params",
            lambda tree: jax.tree.map(jax.lax.stop_gradient, tree),
            init=True,
        )
        return nn.Dense(3)(jnp.tanh(frozen(4)(x)))


WIDE = jnp.asarray(np.random.default_rng(1).standard_normal((4, 6)), jnp.float32)


def jacobians(apply, params, x):
    """The kernel of the summed outputs by its definition."""
    full = definition.jacobian(lambda p, x: apply(p, x).sum(axis=1), params, x)
    return definition.kernel(full, np.ones((1, 1)))


def test_layers_mapped_over_lanes_are_right_or_refused():
    """Each lane's own parameters used once: right. Shared ones, and ones that are used twice, have
    cross terms: refused, with the number of uses; also under jit, where nothing is compared.
    """
    model = Lanes(shared=False)
    params = conformance.draw(model, WIDE)
    found = ntk.kernel(model, params, WIDE)
    np.testing.assert_allclose(found, jacobians(model.apply, params, WIDE), rtol=1e-4)
    for model, uses in ((Lanes(True), "3 times"), (Lanes(False, 2), "6 times")):
        params = conformance.draw(model, WIDE)
        run = jax.jit(lambda v, x, model=model: ntk.kernel(model, v, x))
        with pytest.raises(UserError, match=f"are used {uses} in one pass"):
            run(params, WIDE)


def test_arguments_by_sample_besides_the_first(monkeypatch):
    """A registered layer gets each sample's own, by place and by keyword."""
    monkeypatch.setattr(rules, "_RULES", {**rules._RULES, Gate: rules.per_sample})
    x = WIDE[:, :5]
    params = conformance.draw(Conditioned(), x)
    found = jax.jit(lambda v, x: ntk.kernel(Conditioned(), v, x))(params, x)
    np.testing.assert_allclose(found, jacobians(Conditioned().apply, params, x), rtol=1e-4)


def test_parameters_from_elsewhere():
    """A body that is closed over has no share: refused, also under jit; neural-tangents is
    right.
    """
    body = nn.Dense(4, name="body")
    head = nn.Dense(3)
    frozen = conformance.draw(body, X)
    params = conformance.draw(head, jnp.zeros((4, 4)))

    def apply(params, x):
        return head.apply(params, jnp.tanh(body.apply(frozen, x)))

    for call in (ntk.kernel, jax.jit(ntk.kernel, static_argnums=0)):
        with pytest.raises(UserError, match=r"are not those that were given.*neural_tangents"):
            call(apply, params, X)
    found = ntk.kernel(apply, params, X, implementation="neural_tangents")
    np.testing.assert_allclose(found, jacobians(apply, params, X), rtol=1e-4)


@pytest.mark.parametrize("model", [Mixing(), Stopped()])
def test_what_no_rule_can_see_is_compared_with_gradients(model):
    """Refused with the difference; and what `verify=False` would have given is wrong indeed."""
    params = conformance.draw(model, X)
    with pytest.raises(UserError, match=r"is wrong: [0-9.]+% from that of its gradients"):
        ntk.kernel(model, params, X)
    found = ntk.kernel(model, params, X, verify=False)
    wanted = jacobians(model.apply, params, X)
    assert np.abs(found - wanted).max() > 0.03 * np.abs(wanted).max()


def test_a_jitted_function_is_no_other_one():
    """`jax.jit` keeps its traces, which know no rules: it is traced anew, each time."""
    jitted = jax.jit(MODEL.apply)
    jitted(PARAMS, X)
    wanted = jacobians(MODEL.apply, PARAMS, X)
    for _ in range(2):
        np.testing.assert_allclose(ntk.kernel(jitted, PARAMS, X), wanted, rtol=1e-4)
    head = nn.Dense(2)

    def inside(params, x):
        return head.apply(params["head"], jnp.tanh(jitted(params["body"], x)))

    both = {"body": PARAMS, "head": conformance.draw(head, jnp.zeros((4, 3)))}
    with pytest.raises(UserError, match=r'\{"params": ...\}, got body, head'):
        ntk.kernel(inside, both, X)


def test_lower_precision_is_no_fault():
    """A model that computes in bfloat16 is compared within bfloat16's rounding."""
    model = nn.Dense(3, dtype=jnp.bfloat16)
    assert ntk.kernel(model, PARAMS, X, verify=True).shape == (4, 4)


class TiedInside(nn.Module):
    """A layer's kernel, read again ahead of another layer."""

    @nn.compact
    def __call__(self, x):
        first = nn.Dense(6, name="first")
        h = jnp.tanh(first(x))
        again = h @ first.variables["params"]["kernel"].T
        return nn.Dense(3, name="head")(jnp.tanh(again))


def test_weights_tied_inside_a_network():
    """Seen also where a later layer stands between the second use and the outputs; under jit."""
    params = conformance.draw(TiedInside(), X)
    run = jax.jit(lambda v, x: ntk.kernel(TiedInside(), v, x))
    with pytest.raises(UserError, match=r"of first is also read outside the module's own call"):
        run(params, X)


def test_boxes_around_parameters():
    """Names of a mesh's axes change no number."""
    init = nn.with_partitioning(nn.initializers.normal(1.0), (None, "model"))
    boxed = nn.Dense(3, kernel_init=init)
    params = boxed.init(jax.random.key(0), X)
    found = ntk.kernel(boxed, params, X)
    plain = ntk.kernel(MODEL, nn.meta.unbox(params), X)
    np.testing.assert_allclose(found, plain)


def test_a_model_of_one_size_of_batch():
    """Is refused with its cause, not with a shape of the probe's."""
    model = nn.LayerNorm(feature_axes=0, reduction_axes=1)
    params = conformance.draw(model, X)
    with pytest.raises(UserError, match=r"another number of samples than 4 .*neural_tangents"):
        ntk.kernel(model, params, X)
