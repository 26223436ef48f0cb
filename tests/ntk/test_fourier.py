"""Random Fourier features of images."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.ntk import fourier
from vintk_jax.ntk.fourier import fourier_images

IMAGES = np.random.default_rng(0).standard_normal((2, 32, 48, 3)).astype(np.float32)
KEY = jax.random.key(7)
NUM = {"pixel": 8, "patch": 512, "coords": 10}


@functools.cache
def compiled(mode, num_features, sigma):
    """A function (images, key) -> features, compiled."""
    features = partial(fourier_images, mode=mode, num_features=num_features, sigma=sigma)
    return jax.jit(features)


def mapped(mode, images, key=KEY, sigma=0.3):
    """Features of some images."""
    return np.asarray(compiled(mode, NUM[mode], sigma)(images, key))


def test_features_are_cosines_and_sines():
    """[cos 2 pi B v, sin 2 pi B v], entry by entry."""
    rng = np.random.default_rng(0)
    v = rng.standard_normal((4, 3))
    b = rng.standard_normal((5, 3))
    got = jax.jit(fourier.features)(v.astype(np.float32), b.astype(np.float32))
    got = np.asarray(got)
    assert got.shape == (4, 10)
    for i in range(4):
        for j in range(5):
            phase = 2 * np.pi * sum(v[i] * b[j])
            np.testing.assert_allclose(
                got[i, [j, 5 + j]], [np.cos(phase), np.sin(phase)], atol=1e-4
            )


@pytest.mark.parametrize("sigma", [0.05, 0.3])
def test_inner_products_approximate_the_gaussian_kernel(sigma):
    """phi(v) . phi(w) / m is exp(-2 pi^2 sigma^2 |v - w|^2) within five Monte-Carlo standard
    errors.
    """
    m = 20000
    colours = np.random.default_rng(1).standard_normal((1, 2, 3, 3)).astype(np.float32)
    phi = np.asarray(compiled("pixel", 2 * m, sigma)(colours, KEY), np.float64).reshape(6, 2 * m)
    v = np.asarray(colours, np.float64).reshape(6, 3)
    wanted = np.exp(-2 * np.pi**2 * sigma**2 * ((v[:, None] - v[None]) ** 2).sum(-1))
    assert wanted.min() < 0.9
    np.testing.assert_allclose(phi @ phi.T / m, wanted, atol=5 * (2 * m) ** -0.5)


@pytest.mark.parametrize(("mode", "channels"), [("pixel", 8), ("patch", 2), ("coords", 13)])
def test_shapes_types_and_channels(mode, channels):
    """Images of the same sides and type; the channels that `channels` tells."""
    assert fourier.channels(mode, NUM[mode]) == channels
    for dtype in (jnp.float32, jnp.bfloat16):
        images = jax.ShapeDtypeStruct(IMAGES.shape, dtype)
        got = jax.eval_shape(compiled(mode, NUM[mode], 0.1), images, KEY)
        assert got.shape == (2, 32, 48, channels)
        assert got.dtype == dtype


@pytest.mark.parametrize("mode", fourier.MODES)
def test_the_key_alone_decides(mode):
    """The same key gives the same map, another key another, and a sample's features don't depend on
    its batch.
    """
    first = mapped(mode, IMAGES)
    np.testing.assert_array_equal(mapped(mode, IMAGES), first)
    assert not np.allclose(mapped(mode, IMAGES, jax.random.key(8)), first, atol=0.1)
    # float32 phases of 768 terms
    np.testing.assert_allclose(mapped(mode, IMAGES[1:])[0], first[1], atol=1e-3)


def test_pixel_mode_maps_each_pixel_by_itself():
    """A pixel's features depend on its colour alone."""
    images = mapped("pixel", IMAGES)
    moved = mapped("pixel", IMAGES[:, ::-1])
    np.testing.assert_allclose(images[:, ::-1], moved, atol=1e-5)
    np.testing.assert_allclose((images**2).sum(-1), 4, atol=1e-4)


def test_patch_mode_maps_whole_patches():
    """A change of one pixel changes all of its patch's features and none of another's; a patch
    holds its 2m features.
    """
    changed = IMAGES.copy()
    changed[0, 20, 5, 1] += 1.0  # the patch of rows 16-31, columns 0-15
    a, b = (mapped("patch", images) for images in (IMAGES, changed))
    touched = np.abs(a - b) > 1e-6
    assert touched[0, 16:, :16].mean() > 0.95
    touched[0, 16:, :16] = False
    assert not touched.any()
    np.testing.assert_allclose((a[:, 16:32, 32:48] ** 2).sum((1, 2, 3)), 256, rtol=1e-4)


def test_coords_mode_appends_positions():
    """The image comes first, unchanged; the rest is the same for every image and differs from place
    to place.
    """
    images = mapped("coords", IMAGES, sigma=2.0)
    np.testing.assert_array_equal(images[..., :3], IMAGES)
    np.testing.assert_array_equal(images[0, ..., 3:], images[1, ..., 3:])
    np.testing.assert_allclose(images[0, 0, 0, 3:], [1] * 5 + [0] * 5, atol=1e-6)  # position (0, 0)
    assert np.std(images[0, :, 0, 3:], axis=0).min() > 0.01
    assert np.std(images[0, 0, :, 3:], axis=0).min() > 0.01


@pytest.mark.parametrize(
    ("mode", "num_features", "words"),
    [("pixels", 8, "'pixels'"), ("pixel", 7, "7"), ("coords", 0, "0"), ("patch", 128, "256")],
)
def test_impossible_choices_are_refused(mode, num_features, words):
    """An unknown mode, odd or no features, patches that can't be laid out: ValueError with what
    came or was wanted.
    """
    with pytest.raises(ValueError, match=words):
        fourier_images(jnp.asarray(IMAGES), KEY, mode=mode, num_features=num_features, sigma=1.0)


def test_patch_mode_refuses_other_sides():
    """Sides that 16 doesn't divide are named."""
    with pytest.raises(ValueError, match="30 x 48"):
        fourier_images(jnp.asarray(IMAGES[:, :30]), KEY, mode="patch", num_features=256, sigma=1.0)


@pytest.mark.parametrize("mode", ["pixel", "patch"])
def test_clips_are_mapped_frame_by_frame(mode):
    """Colours and patches of a clip are those of its frames."""
    np.testing.assert_allclose(mapped(mode, IMAGES[None])[0], mapped(mode, IMAGES), atol=1e-3)


def test_positions_in_a_clip_have_a_time():
    """The features differ from frame to frame, and are cosines and sines of frequencies times
    (time, row, column).
    """
    clips = np.stack([IMAGES, IMAGES[::-1]])  # two frames each
    images = mapped("coords", clips, sigma=2.0)
    np.testing.assert_array_equal(images[..., :3], clips)
    np.testing.assert_array_equal(images[0, ..., 3:], images[1, ..., 3:])
    np.testing.assert_allclose(images[0, 0, 0, 0, 3:], [1] * 5 + [0] * 5, atol=1e-6)
    frequencies = 2.0 * np.asarray(jax.random.normal(KEY, (5, 3)), np.float64)
    phase = 2 * np.pi * frequencies @ np.array([1.0, 10 / 31, 20 / 47])
    np.testing.assert_allclose(
        images[0, 1, 10, 20, 3:], np.concatenate([np.cos(phase), np.sin(phase)]), atol=1e-3
    )
