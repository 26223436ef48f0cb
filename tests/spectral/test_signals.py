"""Signals have the frequencies that they claim."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vintk_jax.errors import UserError
from vintk_jax.spectral import frequencies

ENDS = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)


def test_targets_of_a_path_go_round_as_often_as_they_say():
    """The Fourier transform of a target along the path has one frequency; targets are orthonormal
    up to n.
    """
    made = frequencies.path(ENDS, 24, (1, 3, 7))
    assert list(made.targets) == ["1 a round", "3 a round", "7 a round"]
    for k, target in zip((1, 3, 7), made.targets.values(), strict=True):
        power = np.abs(np.fft.fft(target, axis=0)) ** 2
        assert set(np.flatnonzero(power.sum(1) > 1e-9 * power.sum())) == {k, 24 - k}
        np.testing.assert_allclose(target.T @ target, 24 * np.eye(2), atol=1e-9)


def test_images_of_a_path_are_a_circle():
    """Equal steps from each image to the next, the last to the first among them; standardised; in a
    plane.
    """
    images = frequencies.path(ENDS, 12, (1,)).images.reshape(12, -1)
    steps = np.linalg.norm(images - np.roll(images, 1, axis=0), axis=1)
    # an ellipse: the ends are neither orthogonal nor of one norm
    assert steps.max() < 2 * steps.min()
    assert np.linalg.matrix_rank(images - images.mean(0), tol=1e-3 * steps.max()) == 2
    assert images.std() == pytest.approx(1, rel=1e-5)


@given(st.sampled_from([8, 9, 16]))
def test_bands_part_the_plane(size):
    """No frequency is in two bands, and all up to the last edge are in one."""
    masks = np.array(list(frequencies.radial_bands(size, (0.5, 2, 3, 4)).values()))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(size, 1 / size), np.fft.fftfreq(size, 1 / size)))
    np.testing.assert_array_equal(masks.sum(0), (radius >= 0.5) & (radius < 4))


def test_a_bands_target_reads_its_band_alone():
    """Taking the band out of the images leaves nothing that the target could be read from: least
    squares on the band fits, on the rest doesn't.
    """
    made = frequencies.bands(8, 600, (0.5, 2, 4), 0)
    masks = frequencies.radial_bands(8, (0.5, 2, 4))
    spectra = np.fft.fft2(made.images, axes=(1, 2))
    for name, target in made.targets.items():
        assert target.mean() == pytest.approx(0, abs=1e-9)
        assert target.std() == pytest.approx(1)
        for other, mask in masks.items():
            inside = np.real(np.fft.ifft2(spectra * mask[..., None], axes=(1, 2))).reshape(600, -1)
            inside = np.column_stack([inside, np.ones(600)])
            left = target - inside @ np.linalg.lstsq(inside, target, rcond=1e-6)[0]
            share = np.sum(left**2) / 600
            assert (share < 1e-5) if other == name else (share > 0.5)


def test_bands_have_equal_power():
    images = frequencies.bands(8, 100, (0.5, 2, 4), 0).images
    power = np.abs(np.fft.fft2(images, axes=(1, 2))) ** 2
    per_band = [
        np.sum(power * mask[..., None])
        for mask in frequencies.radial_bands(8, (0.5, 2, 4)).values()
    ]
    assert per_band[0] == pytest.approx(per_band[1], rel=1e-3)


@pytest.mark.parametrize("cycles", [(), (0,), (1, 12), (-1,)])
def test_frequencies_that_do_not_fit_are_told(cycles):
    with pytest.raises(UserError, match=r"signals.cycles .*1 to 11, for 24"):
        frequencies.path(ENDS, 24, cycles)


@pytest.mark.parametrize("edges", [(1,), (3, 2), (0.1, 0.2), (100, 200)])
def test_bands_without_frequencies_are_told(edges):
    with pytest.raises(UserError, match=r"signals\.band_edges "):
        frequencies.radial_bands(8, edges)
