"""Left-out errors against fits that leave an image out; Fourier features against drawn ones."""

import jax
import numpy as np
import pytest

from vintk_jax.ntk import fourier, ridge_regression


def drawn_kernel(seed, n=12, rank=20):
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((n, rank)) * 0.7 ** np.arange(rank) + 0.3
    return gradients @ gradients.T, rng.standard_normal((n, 4))


def refitted_error(kernel, targets, ridge):
    """By n fits of n - 1 images: alpha and the intercept from the bordered system."""
    n = len(kernel)
    centre = np.eye(n) - 1 / n
    absolute = ridge * np.trace(centre @ kernel @ centre) / n
    squares = []
    for left in range(n):
        others = np.delete(np.arange(n), left)
        bordered = np.ones((n, n))
        bordered[:-1, :-1] = kernel[np.ix_(others, others)] + absolute * np.eye(n - 1)
        bordered[-1, -1] = 0
        known = np.concatenate([targets[others], np.zeros((1, targets.shape[1]))])
        solved = np.linalg.solve(bordered, known)
        said = kernel[left, others] @ solved[:-1] + solved[-1]
        squares.append(np.sum((said - targets[left]) ** 2))
    return np.mean(squares) / np.sum(np.var(targets, axis=0))


@pytest.mark.parametrize("ridge", [1.0, 0.01])
def test_left_out_error_is_that_of_fits_that_leave_each_image_out(ridge):
    kernel, targets = drawn_kernel(0)
    error = ridge_regression.left_out_error(kernel, targets @ targets.T, ridge)
    assert error == pytest.approx(refitted_error(kernel, targets, ridge), rel=1e-8)


def test_a_kernel_made_of_the_targets_learns_them_and_another_does_not():
    _, targets = drawn_kernel(1)
    of_itself = ridge_regression.left_out_error(targets @ targets.T, targets @ targets.T, 1e-3)
    other = ridge_regression.left_out_error(np.eye(12), targets @ targets.T, 1e-3)
    assert of_itself < 0.01
    assert other == pytest.approx((12 / 11) ** 2)  # each is predicted by the others' mean


def test_scale_and_a_part_common_to_all_change_nothing():
    kernel, targets = drawn_kernel(2)
    gram = targets @ targets.T
    plain = ridge_regression.left_out_error(kernel, gram, 0.1)
    assert ridge_regression.left_out_error(7 * kernel + 3, 5 * gram, 0.1) == pytest.approx(plain)


def test_kernels_that_tell_nothing_apart_have_no_error():
    assert np.isnan(ridge_regression.left_out_error(np.ones((5, 5)), np.eye(5), 0.1))
    with pytest.raises(ValueError, match="positive ridge, got 0"):
        ridge_regression.left_out_error(np.eye(5), np.eye(5), 0)


def test_features_gram_is_the_mean_of_drawn_fourier_features():
    images = np.random.default_rng(3).standard_normal((4, 2, 2, 3)).astype(np.float32)
    flat = images.reshape(4, -1) / np.sqrt(12, dtype=np.float32)
    frequencies = 0.3 * jax.random.normal(jax.random.key(0), (200_000, 12))
    drawn = np.asarray(fourier.features(jax.numpy.asarray(flat), frequencies))
    np.testing.assert_allclose(
        drawn @ drawn.T / len(frequencies), ridge_regression.features_gram(images, 0.3), atol=6e-3
    )
