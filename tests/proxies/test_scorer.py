"""The batched, masked, sharded scorer against kernels of each architecture's own model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_space import SPACE

from vintk_jax import ntk, proxies
from vintk_jax.data import inputs
from vintk_jax.errors import UserError
from vintk_jax.ntk import reductions
from vintk_jax.proxies.base import Measurement
from vintk_jax.proxies.scorer import Scorer, score
from vintk_jax.proxies.supernet import KernelSettings, Supernet, views

IMAGES = inputs.load("photos", 4, 32, 0).images
FOURIER = dict(mode="pixel", num_features=4, sigma=1.0)


def make(**overrides):
    settings = KernelSettings(**{"num_classes": 5, "num_seeds": 2, "cotangent": "sum", **overrides})
    supernet = Supernet(
        SPACE, views(IMAGES, ("plain", "fourier"), jax.random.key(7), **FOURIER), settings, seed=3
    )
    return Scorer(
        supernet, [Measurement(view, "kernel") for view in ("plain", "fourier")], batch_size=2
    )


@pytest.fixture(scope="module")
def scorer():
    return make()


def test_kernels_are_those_of_each_architectures_own_model(scorer):
    archs = [SPACE.sample(np.random.default_rng(i)) for i in range(3)]
    found = scorer.measure(archs[: scorer.batch_size]) + scorer.measure(archs[scorer.batch_size :])
    images = views(IMAGES, ("plain", "fourier"), jax.random.key(7), **FOURIER)
    init = jax.jit(SPACE.supernet(32, 5).init)
    for arch, of_arch in zip(archs, found, strict=True):
        own = jax.jit(partial(ntk.kernel, SPACE.model(arch, 32, num_classes=5)))
        for seed, key in enumerate(jax.random.split(jax.random.key(3), 2)):
            for view, batch in images.items():
                batch = jnp.asarray(batch)
                wanted = own(SPACE.subnet(init(key, batch), arch), batch)
                np.testing.assert_allclose(
                    of_arch[seed][view], wanted, rtol=1e-4, atol=1e-5 * float(jnp.abs(wanted).max())
                )


@pytest.mark.parametrize("variant", [(True, None), (True, 2)])
def test_variants_that_save_memory_give_the_same_kernels(scorer, monkeypatch, variant):
    arch = SPACE.sample(np.random.default_rng(0))
    plain = scorer.measure([arch])[0][0]
    monkeypatch.setattr(scorer, "_compiled", scorer._build(*variant))
    for view, kernel in scorer.measure([arch])[0][0].items():
        np.testing.assert_allclose(kernel, plain[view], rtol=1e-4, atol=1e-5 * np.abs(kernel).max())


def test_a_kernel_that_is_not_finite_names_the_architecture():
    kernels = [
        {
            "plain": np.full((3, 3), np.nan),
            "fourier": np.eye(3),
            "plain stem": np.eye(3),
            "fourier stem": np.eye(3),
        }
    ]
    with pytest.raises(UserError, match=r"plain kernel of architecture \{'depth': 2\}"):
        score(proxies.get("vintk"), kernels, {"depth": 2})


def test_vintk_is_the_effect_of_the_blocks_on_both_kernels():
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
    plain, fourier = share["plain"], 1 - share["fourier"]
    assert share["plain stem"] < 0.5 < share["fourier stem"]
    assert proxies.get("vintk").score(kernels) == pytest.approx(plain + fourier)
    assert proxies.get("vintk_plain").score(kernels) == pytest.approx(plain)
    assert proxies.get("vintk_fourier").score(kernels) == pytest.approx(fourier)


def test_stems_are_kernels_without_blocks():
    """The kernel of the supernet with every block dead; computed once for architectures of one
    width, and of use to the score.
    """
    proxy = proxies.get("vintk")
    supernet = Supernet(
        SPACE,
        views(IMAGES, ("plain", "fourier"), jax.random.key(7), **FOURIER),
        KernelSettings(num_classes=5),
        seed=3,
    )
    scorer = Scorer(supernet, proxy.measurements, batch_size=2)
    archs = [
        SPACE.decode({**SPACE.encode(SPACE.cheapest()), "embed_dim": width, "depth": depth})
        for width, depth in ((16, 2), (24, 1))
    ]
    found = [seeds[0] for seeds in scorer.measure(archs)]
    again = scorer.measure(archs[:1])[0][0]
    assert set(found[0]) == {"plain", "fourier", "plain stem", "fourier stem"}
    np.testing.assert_array_equal(again["plain stem"], found[0]["plain stem"])
    model, params = supernet.model(), jax.tree.map(lambda leaf: leaf[0], supernet.params["plain"])
    masks = {k: jnp.asarray(v) * (k == "embed") for k, v in SPACE.masks(archs[1]).items()}
    wanted = jax.jit(
        lambda m: ntk.kernel(
            model, params, jnp.asarray(IMAGES), cotangent=supernet.directions[0], masks=m
        )
    )(masks)
    np.testing.assert_allclose(found[1]["plain stem"], wanted, rtol=1e-4)
    assert score(proxy, found, {})[0] > 0


def test_signs_of_the_baselines():
    """A flat spectrum trains better than a steep one, for every score that claims to see it."""
    flat, steep = np.diag([1.0, 1.0, 1.0]), np.diag([3.0, 1e-3, 1e-4])
    for name in ("ntk_cond", "ntk_participation", "ntk_effective_rank", "ntk_log_determinant"):
        proxy = proxies.get(name)
        assert proxy.score({"plain": flat}) > proxy.score({"plain": steep})
    assert proxies.get("ntk_trace").score({"plain": steep}) == pytest.approx(
        reductions.trace(steep)
    )


def test_unknown_settings_are_told():
    for wrong in ({"cotangent": "mean"}, {"implementation": "fast"}, {"dtype": "bfloat16"}):
        with pytest.raises(UserError, match=next(iter(wrong.values()))):
            make(**wrong)
