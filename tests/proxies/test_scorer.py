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
    supernet = Supernet(SPACE, views(IMAGES, ("plain", "fourier"), jax.random.key(7), **FOURIER), settings, seed=3)
    return Scorer(supernet, [Measurement(view, "kernel") for view in ("plain", "fourier")], batch_size=2)


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
                np.testing.assert_allclose(of_arch[seed][view], wanted, rtol=1e-4, atol=1e-5 * float(jnp.abs(wanted).max()))


@pytest.mark.parametrize("variant", [(True, None), (True, 2)])
def test_variants_that_save_memory_give_the_same_kernels(scorer, monkeypatch, variant):
    arch = SPACE.sample(np.random.default_rng(0))
    plain = scorer.measure([arch])[0][0]
    monkeypatch.setattr(scorer, "_compiled", scorer._build(*variant))
    for view, kernel in scorer.measure([arch])[0][0].items():
        np.testing.assert_allclose(kernel, plain[view], rtol=1e-4, atol=1e-5 * np.abs(kernel).max())


def test_a_kernel_that_is_not_finite_names_the_architecture():
    kernels = [{"plain": np.full((3, 3), np.nan), "fourier": np.eye(3)}]
    with pytest.raises(UserError, match=r"plain kernel of architecture \{'depth': 2\}"):
        score(proxies.get("vintk"), kernels, {"depth": 2})


def test_vintk_adds_the_participation_ratios_of_both_kernels():
    rng = np.random.default_rng(0)
    plain, fourier = (m @ m.T for m in rng.standard_normal((2, 6, 9)))
    eigen = [np.linalg.eigvalsh(k) for k in (plain, fourier)]
    expected = sum(np.log(e.sum() ** 2 / (e**2).sum()) for e in eigen)
    assert proxies.get("vintk").score({"plain": plain, "fourier": fourier}) == pytest.approx(expected)


def test_signs_of_the_baselines():
    """A flat spectrum trains better than a steep one, for every score that claims to see it."""
    flat, steep = np.diag([1.0, 1.0, 1.0]), np.diag([3.0, 1e-3, 1e-4])
    for name in ("ntk_cond", "ntk_participation", "ntk_effective_rank", "ntk_log_determinant"):
        proxy = proxies.get(name)
        assert proxy.score({"plain": flat}) > proxy.score({"plain": steep})
    assert proxies.get("ntk_trace").score({"plain": steep}) == pytest.approx(reductions.trace(steep))


def test_unknown_settings_are_told():
    for wrong in ({"cotangent": "mean"}, {"implementation": "fast"}, {"dtype": "bfloat16"}):
        with pytest.raises(UserError, match=next(iter(wrong.values()))):
            make(**wrong)
