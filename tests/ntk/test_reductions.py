"""Reductions against their definitions on kernels of known spectrum."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy.stats import entropy, ortho_group

from vintk_jax.ntk import reductions as r

SCALARS = [
    r.largest_eigenvalue,
    r.smallest_eigenvalue,
    r.condition_number,
    r.trace,
    r.frobenius_norm,
    r.log_determinant,
    r.effective_rank,
    r.log_participation_ratio,
]
spectra = st.lists(st.floats(0.05, 10), min_size=2, max_size=8)


def with_spectrum(values, seed=0):
    q = ortho_group.rvs(len(values), random_state=seed)
    k = (q * np.asarray(values)) @ q.T
    return (k + k.T) / 2


@given(values=spectra, seed=st.integers(0, 99))
def test_definitions_on_a_known_spectrum(values, seed):
    """Every reduction from the eigenvalues that the kernel was built of."""
    k = with_spectrum(values, seed)
    v = np.asarray(values)
    wanted = {
        r.largest_eigenvalue: v.max(),
        r.smallest_eigenvalue: v.min(),
        r.condition_number: v.max() / v.min(),
        r.trace: v.sum(),
        r.frobenius_norm: np.sqrt((v**2).sum()),
        r.log_determinant: np.log(v).sum(),
        r.effective_rank: np.exp(entropy(v / v.sum())),
        r.log_participation_ratio: np.log(v.sum() ** 2 / (v**2).sum()),
    }
    assert set(wanted) == set(SCALARS)
    for reduction, number in wanted.items():
        got = reduction(k)
        assert isinstance(got, float)
        np.testing.assert_allclose(got, number, rtol=1e-7, atol=1e-7, err_msg=reduction.__name__)
    np.testing.assert_allclose(r.spectrum(k), np.sort(v)[::-1], rtol=1e-8)


@given(values=spectra, factor=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_scale(values, factor, seed):
    """Ratios don't change with the kernel's scale; sizes grow with it; the log-determinant by n log
    of it.
    """
    k = with_spectrum(values, seed)
    for free in (r.condition_number, r.effective_rank, r.log_participation_ratio):
        np.testing.assert_allclose(free(factor * k), free(k), rtol=1e-6, atol=1e-9)
    for linear in (
        r.largest_eigenvalue,
        r.smallest_eigenvalue,
        r.trace,
        r.frobenius_norm,
        r.rounding,
    ):
        np.testing.assert_allclose(linear(factor * k), factor * linear(k), rtol=1e-6)
    np.testing.assert_allclose(
        r.log_determinant(factor * k), r.log_determinant(k) + len(k) * np.log(factor), atol=1e-6
    )
    y = np.random.default_rng(seed).standard_normal((len(k), 2))
    np.testing.assert_allclose(
        r.target_alignment(factor * k, 3 * y), r.target_alignment(k, y), atol=1e-9
    )


@given(n=st.integers(2, 8), rank=st.integers(1, 8), seed=st.integers(0, 99))
def test_bounds_hold_for_any_kernel_even_a_deficient_one(n, rank, seed):
    """Gram matrices of any rank give finite numbers within their bounds."""
    features = np.random.default_rng(seed).standard_normal((n, rank)).astype(np.float32)
    k = features @ features.T
    assert all(np.isfinite(reduction(k)) for reduction in SCALARS)
    assert r.condition_number(k) >= 1 - 1e-9
    assert 1 - 1e-6 <= r.effective_rank(k) <= min(n, rank) + 0.05
    assert -1e-6 <= r.log_participation_ratio(k) <= np.log(min(n, rank)) + 1e-6
    assert r.largest_eigenvalue(k) <= r.frobenius_norm(k) * (1 + 1e-9) <= r.trace(k) * (1 + 1e-6)
    y = np.random.default_rng(seed + 1).standard_normal((n, 3))
    assert -1e-9 <= r.target_alignment(k, y) <= 1 + 1e-9


def test_deficient_kernels_stop_at_the_floor():
    """Where an eigenvalue is zero, n eps max(diagonal) of float32 stands for it."""
    k = np.diag([4.0, 1.0, 0.0])
    floor = 3 * np.finfo(np.float32).eps * 4
    np.testing.assert_allclose(r.rounding(k), floor)
    np.testing.assert_allclose(r.condition_number(k), 4 / floor)
    np.testing.assert_allclose(r.log_determinant(k), np.log(4) + np.log(floor))
    assert r.smallest_eigenvalue(k) == 0  # as it is, not the floor


def test_identity_and_rank_one_are_the_extremes():
    """Equal eigenvalues: rank n, condition 1. One eigenvalue: rank 1, participation 0."""
    np.testing.assert_allclose([r.effective_rank(np.eye(5)), r.condition_number(np.eye(5))], [5, 1])
    np.testing.assert_allclose(r.log_participation_ratio(np.eye(5)), np.log(5))
    ones = np.ones((5, 5))
    np.testing.assert_allclose(r.effective_rank(ones), 1, atol=1e-3)
    np.testing.assert_allclose(r.log_participation_ratio(ones), 0, atol=1e-9)


def test_target_alignment_is_centred_cosine():
    """The cosine of the centred kernel and the centred Y Y', by loops; 1 for the ideal kernel;
    blind to constants in K's features.
    """
    rng = np.random.default_rng(0)
    f = rng.standard_normal((6, 4))
    y = np.eye(3)[[0, 1, 2, 0, 1, 1]]
    fc = f - f.mean(0)
    yc = y - y.mean(0)
    k = fc @ fc.T
    ideal = yc @ yc.T
    cosine = sum(k[i, j] * ideal[i, j] for i in range(6) for j in range(6)) / np.sqrt(
        (k**2).sum() * (ideal**2).sum()
    )
    np.testing.assert_allclose(r.target_alignment(f @ f.T, y), cosine)
    np.testing.assert_allclose(r.target_alignment((f + 5) @ (f + 5).T, y), cosine)
    np.testing.assert_allclose(r.target_alignment(y @ y.T, y), 1)
    assert cosine == pytest.approx(np.corrcoef(k.ravel(), ideal.ravel())[0, 1])


def test_float32_kernels_are_reduced_in_float64():
    """A float32 kernel's spectrum is that of the same numbers in float64."""
    k = with_spectrum([5.0, 1.0, 1e-3]).astype(np.float32)
    assert r.spectrum(k).dtype == np.float64
    np.testing.assert_array_equal(r.spectrum(k), r.spectrum(k.astype(np.float64)))


def test_distinct_share_is_the_centred_trace():
    """0 for gradients that are all alike, 1 - 1/n for orthogonal ones, whatever their scale."""
    rng = np.random.default_rng(0)
    g = rng.standard_normal((5, 7)) + 1
    centred = g - g.mean(0)
    assert r.distinct_share(3 * g @ g.T) == pytest.approx(np.sum(centred**2) / np.sum(g**2))
    assert r.distinct_share(np.ones((4, 4))) == pytest.approx(0)
    assert r.distinct_share(2 * np.eye(4)) == pytest.approx(3 / 4)
