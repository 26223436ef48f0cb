"""Kernel regression against the differential equation that defines it; training against plain
gradient steps.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from vintk_jax.spectral import learning

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def circulant():
    """A kernel that depends on distance on a circle alone: its eigenvalues are the cosine sums of
    its first row.
    """
    distance = np.arange(12)
    row = np.exp(-(np.minimum(distance, 12 - distance) ** 2) / 4)
    return np.array([np.roll(row, i) for i in range(12)]), row


def test_eigenvectors_of_a_circulant_are_frequencies(circulant):
    """Frequencies 1 and 2 lie in the four leading eigenvectors wholly, 3 not at all."""
    kernel, _ = circulant
    s = 2 * np.pi * np.arange(12) / 12

    def pair(k):
        return np.stack([np.cos(k * s), np.sin(k * s)], axis=1)

    assert learning.share_in_top(kernel, pair(1), 4) == pytest.approx(1)
    assert learning.share_in_top(kernel, pair(2), 4) == pytest.approx(1)
    assert learning.share_in_top(kernel, pair(3), 4) == pytest.approx(0, abs=1e-9)


def test_time_to_halve_a_frequency_is_by_its_eigenvalue(circulant):
    """log 2 / 2 lambda for power, lambda in units of the mean eigenvalue of the centred kernel."""
    kernel, row = circulant
    s = 2 * np.pi * np.arange(12) / 12

    def of(k):
        return np.sum(row * np.cos(k * s))

    mean = sum(of(k) for k in range(1, 12)) / 12
    for k in (1, 2, 3):
        wanted = np.log(2) / 2 * mean / of(k)
        assert learning.time_to_halve(kernel, np.cos(k * s)[:, None]) == pytest.approx(
            wanted, rel=5e-3
        )


def test_residuals_solve_the_gradient_flow():
    """dr/dt = -K r of the centred kernel, integrated numerically."""
    root = RNG.standard_normal((6, 9))
    kernel = root @ root.T
    target = RNG.standard_normal((6, 1))
    centre = np.eye(6) - 1 / 6
    centred = centre @ kernel @ centre
    centred /= np.trace(centred) / 6

    def flow(_, residual):
        return -centred @ residual

    solved = solve_ivp(flow, (0, 2), target[:, 0], t_eval=[0.5, 2.0], rtol=1e-9, atol=1e-12).y
    wanted = np.sum(solved**2, axis=0) / np.sum(target**2)
    np.testing.assert_allclose(
        learning.residuals(kernel, target, np.array([0.5, 2.0])), wanted, rtol=1e-5
    )


def test_a_target_outside_the_kernels_range_is_never_learnt():
    one = np.ones(6) / np.sqrt(6)
    u = np.array([1.0, -1, 0, 0, 0, 0]) / np.sqrt(2)
    v = np.array([0, 0, 1.0, -1, 0, 0]) / np.sqrt(2)
    assert abs(one @ u) + abs(one @ v) < 1e-12
    assert learning.time_to_halve(np.outer(u, u), v[:, None]) == float("inf")


def test_training_lowers_the_error_and_starts_where_the_network_does():
    """The first error is the untrained network's; a linear network learns a linear target."""
    model = nn.Dense(2, use_bias=False)
    x = jnp.asarray(RNG.standard_normal((20, 3)), jnp.float32)
    target = np.asarray(x) @ RNG.standard_normal((3, 2))
    params = model.init(jax.random.key(0), x)
    errors = learning.train(model, params, np.asarray(x), target, steps=300, learning_rate=0.05)
    np.testing.assert_allclose(
        errors[0], np.mean((np.asarray(model.apply(params, x)) - target) ** 2, axis=0), rtol=1e-5
    )
    assert errors.shape == (300, 2)
    assert (errors[-1] < 1e-3 * errors[0]).all()
