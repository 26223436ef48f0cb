"""The batched, masked, sharded scorer against kernels of each architecture's own model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_space import SPACE

from vintk_jax import ntk, proxies
from vintk_jax.data import inputs
from vintk_jax.errors import UserError
from vintk_jax.ntk import reductions
from vintk_jax.ntk.layer_measures import KERNEL, Factors
from vintk_jax.ntk.ridge_regression import left_out_error
from vintk_jax.proxies import kernels as kernel_scores
from vintk_jax.proxies.base import Measurement
from vintk_jax.proxies.scorer import Scorer, score
from vintk_jax.proxies.supernet import KernelSettings, Supernet, views

IMAGES = inputs.load("photos", 4, 32, 0).images
KEYS = jax.random.split(jax.random.key(3), 2)  # of the weights' two draws
DRAWS = range(2)


@pytest.fixture(scope="module")
def images():
    """The inputs by view."""
    return views(
        IMAGES,
        ("plain", "fourier"),
        jax.random.key(7),
        mode="pixel",
        num_features=4,
        sigma=1.0,
    )


@pytest.fixture(scope="module")
def supernet(images):
    return Supernet(SPACE, images, KernelSettings(num_classes=5, num_seeds=2), seed=3)


@pytest.fixture(scope="module")
def scorer(supernet):
    """Of both views' kernels and of their stems'."""
    return Scorer(supernet, proxies.get("blocks_effect").measurements, batch_size=2)


@pytest.fixture(scope="module")
def drawn(images):
    """By draw of the weights, the supernet's variables for each view, and the random direction."""

    @jax.jit
    def draw(key, images):
        variables = {view: SPACE.supernet(32, 5).init(key, x) for view, x in images.items()}
        return variables, ntk.directions("random", (5,), jax.random.fold_in(key, 1))

    return [jax.device_get(draw(key, images)) for key in KEYS]


def kernels_of(model):
    """A compiled function (variables by view, images by view, direction) -> kernels by view."""

    @jax.jit
    def run(variables, images, direction):
        return {
            view: ntk.kernel(model, variables[view], x, cotangent=direction)
            for view, x in images.items()
        }

    return run


@pytest.fixture(scope="module")
def archs():
    """Two members that differ in all they can, and their number of blocks."""
    chosen = {**SPACE.encode(SPACE.cheapest()), "num_heads_0": 2, "mlp_ratio_1": 2.0}
    return [
        SPACE.decode({**chosen, "embed_dim": width, "depth": depth})
        for width, depth in ((24, 1), (16, 2))
    ]


@pytest.fixture(scope="module")
def measured(scorer, archs):
    """By architecture, draw and name; the second architecture in a call of its own, which is not
    full, too.
    """
    return scorer.measure(archs) + scorer.measure(archs[1:])


def test_kernels_are_those_of_each_architectures_own_model(measured, archs, images, drawn):
    """Both views' of one, the plain one of the other."""
    for arch, of_arch, names in zip(archs, measured, (("plain",), tuple(images)), strict=False):
        of_model = kernels_of(SPACE.model(arch, 32, num_classes=5))
        inputs = {view: images[view] for view in names}
        for of_seed, (variables, direction) in zip(of_arch, drawn, strict=True):
            cut = {
                view: jax.tree.map(np.asarray, SPACE.subnet(variables[view], arch))
                for view in inputs
            }
            for view, wanted in of_model(cut, inputs, direction).items():
                np.testing.assert_allclose(
                    of_seed[view], wanted, rtol=1e-4, atol=1e-5 * float(np.abs(wanted).max())
                )


def test_a_call_that_is_not_full(measured):
    """Gives what a full one does."""
    for seed in DRAWS:
        for name, kernel in measured[2][seed].items():
            np.testing.assert_array_equal(kernel, measured[1][seed][name], err_msg=name)


@pytest.mark.parametrize("variant", [(True, None), (True, 2)])
def test_variants_that_save_memory_give_the_same_kernels(
    supernet, measured, archs, monkeypatch, variant
):
    """Of one view; each view has its kernel for itself."""
    saving = Scorer(supernet, [Measurement("plain", "kernel")], batch_size=2)
    monkeypatch.setattr(saving, "_compiled", saving._build(*variant))
    for got, wanted in zip(saving.measure(archs), measured, strict=False):
        for seed in DRAWS:
            kernel = got[seed]["plain"]
            np.testing.assert_allclose(
                kernel, wanted[seed]["plain"], rtol=1e-4, atol=1e-5 * np.abs(kernel).max()
            )


def test_a_kernel_that_is_not_finite_names_the_architecture():
    kernels = [{"plain": np.full((3, 3), np.nan), "flops": np.float64(3)}]
    with pytest.raises(UserError, match=r"plain kernel of architecture \{'depth': 2\}"):
        score(proxies.get("vintk"), kernels, {"depth": 2})


def test_blocks_effect_is_on_both_kernels():
    """By the definition with a centring matrix, whichever way the blocks move the share."""
    rng = np.random.default_rng(0)
    names = ("plain", "fourier", "plain stem", "fourier stem")
    kernels = {
        name: m @ m.T
        for name, m in zip(
            names,
            rng.standard_normal((4, 6, 9)) + np.array([0, 1, 9, 0])[:, None, None],
            strict=True,
        )
    }
    centre = np.eye(6) - 1 / 6
    share = {name: np.trace(centre @ k @ centre) / np.trace(k) for name, k in kernels.items()}
    # the plain stem tells nothing apart, the Fourier stem nearly all
    plain = share["plain"]
    fourier = 1 - share["fourier"]
    assert share["plain stem"] < 0.5 < share["fourier stem"]
    assert proxies.get("blocks_effect").score(kernels) == pytest.approx(plain + fourier)


def test_vintk_is_the_cost_and_what_the_kernel_adds():
    """The kernel's part by drawn noise that is predicted for each image from the others."""
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((8, 20)) + 2
    measured = {"plain": gradients @ gradients.T, "flops": np.float64(30)}
    noise = rng.standard_normal((8, 200_000))
    targets = noise @ noise.T / noise.shape[1]
    error = left_out_error(measured["plain"], targets, kernel_scores.RIDGE / 64)
    part = proxies.get("vintk_kernel").score(measured)
    assert part == pytest.approx(-np.log(error), abs=0.01)
    wanted = np.log(30) + kernel_scores.WEIGHT * part
    assert proxies.get("vintk").score(measured) == pytest.approx(wanted)


def test_a_kernel_that_spreads_noise_is_worse():
    """Gradients of one direction mostly, against ones that tell all images apart alike."""
    rng = np.random.default_rng(1)
    even = rng.standard_normal((16, 400))
    alike = even * 0.7 ** np.arange(400)
    part = proxies.get("vintk_kernel").score
    assert part({"plain": even @ even.T}) > part({"plain": alike @ alike.T})


def test_stems_are_kernels_without_blocks(scorer, measured, archs, images, drawn):
    """The kernel of the model of no blocks; computed once for architectures of one width, and of
    use to the score.
    """
    bare = dataclasses.replace(SPACE.model(archs[0], 32, num_classes=5), num_heads=(), hidden=())
    run = kernels_of(bare)
    for of_seed, (variables, direction) in zip(measured[0], drawn, strict=True):
        assert set(of_seed) == {"plain", "fourier", "plain stem", "fourier stem"}
        cut = {}
        for view in images:
            params = SPACE.subnet(variables[view], archs[0])["params"]
            kept = {name: part for name, part in params.items() if "block" not in name}
            cut[view] = {"params": jax.tree.map(np.asarray, kept)}
        for view, wanted in run(cut, images, direction).items():
            np.testing.assert_allclose(of_seed[f"{view} stem"], wanted, rtol=1e-4)
    assert len(scorer._stems) == 2
    assert score(proxies.get("blocks_effect"), measured[0], {})[0] > 0


def test_signs_of_the_baselines():
    """A flat spectrum trains better than a steep one, for every score that claims to see it."""
    flat = np.diag([1.0, 1.0, 1.0])
    steep = np.diag([3.0, 1e-3, 1e-4])
    for name in ("ntk_cond", "ntk_participation", "ntk_effective_rank", "ntk_log_determinant"):
        proxy = proxies.get(name)
        assert proxy.score({"plain": flat}) > proxy.score({"plain": steep})
    assert proxies.get("ntk_trace").score({"plain": steep}) == pytest.approx(
        reductions.trace(steep)
    )


@pytest.mark.parametrize(("cotangent", "wanted"), [("sum", np.ones((5, 1))), ("full", np.eye(5))])
def test_directions_that_are_not_drawn(cotangent, wanted):
    """The same for each draw of the weights."""
    settings = KernelSettings(num_classes=5, num_seeds=2, cotangent=cotangent)
    directions = Supernet(SPACE, {}, settings, seed=3).directions
    np.testing.assert_array_equal(directions, np.stack([wanted, wanted]))


def test_unknown_settings_are_told():
    for wrong in ({"cotangent": "mean"}, {"implementation": "fast"}, {"dtype": "bfloat16"}):
        with pytest.raises(UserError, match=next(iter(wrong.values()))):
            Supernet(SPACE, {}, KernelSettings(**wrong), seed=3)


def mean_squares(x, d):
    """Of both factors."""
    return jnp.stack([jnp.mean(x**2), jnp.mean(d**2)])


def test_measures_by_layer(supernet, images, archs, drawn):
    """Of a masked supernet in a batch: the shares of each architecture's own model, and a statistic
    of the factors; with the kernel of the same view beside them, which the shares add up to.
    """
    measurements = [
        Measurement("plain", "kernel"),
        Measurement("shares", "layers", KERNEL),
        Measurement("squares", "layers", Factors(mean_squares, 2), "fourier"),
    ]
    scorer = Scorer(supernet, measurements, batch_size=2)
    for of_arch, arch in zip(scorer.measure(archs), archs, strict=True):
        for of_seed in of_arch:
            shares = of_seed["shares"].values()
            added = sum(share.reshape(-1, 4, 4).sum(0) for share in shares)
            np.testing.assert_allclose(
                added, of_seed["plain"], atol=1e-5 * np.abs(of_seed["plain"]).max()
            )
            squares = of_seed["squares"]["blocks/block/attention/qkv"]
            assert np.all(squares[: arch.depth] > 0)
            assert not np.any(squares[arch.depth :])


def test_a_proxy_of_layers(supernet, archs):
    """Its score is called with the layers of each view."""

    def total(views):
        shares = views["plain"].values()
        return float(sum(np.trace(share, axis1=-2, axis2=-1).sum() for share in shares))

    proxy = proxies.Proxy.of_layers("total", KERNEL, total, "plain")
    measured = Scorer(supernet, proxy.measurements, batch_size=2).measure(archs[:1])[0]
    kernels = Scorer(supernet, [Measurement("plain", "kernel")], batch_size=2).measure(archs[:1])[0]
    wanted = [np.trace(of_draw["plain"]) for of_draw in kernels]
    assert score(proxy, measured, {}) == pytest.approx(wanted, rel=1e-5)


def test_layers_want_the_structured_kernel(images):
    """Other implementations have no layers."""
    settings = KernelSettings(num_classes=5, implementation="neural_tangents")
    other = Supernet(SPACE, {"plain": images["plain"]}, settings, seed=3)
    with pytest.raises(UserError, match=r"Expected ntk\.implementation=structured"):
        Scorer(other, [Measurement("shares", "layers", KERNEL)]).compile()


def test_a_proxy_says_what_it_means():
    assert proxies.get("vintk").meaning.startswith(
        "ViNTK: the logarithm of the multiply-adds, plus"
    )
    assert proxies.Proxy.of_kernels("own", lambda kernels: 0.0, "plain").meaning == ""
