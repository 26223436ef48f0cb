"""What happens to a training image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vintk_jax.data import augment, rand_augment
from vintk_jax.data.augment import Augment, Centre
from vintk_jax.errors import UserError

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def element(pixels=PHOTO):
    """As a source gives it."""
    return {"image": pixels, "label": 3}


@given(
    seed=st.integers(0, 2**31),
    options=st.fixed_dictionaries(
        {
            "resized_crop": st.sampled_from([0.0, 0.08, 1.0]),
            "padding": st.sampled_from([0, 4]),
            "flip": st.booleans(),
            "randaugment_ops": st.sampled_from([0, 2]),
            "erasing": st.sampled_from([0.0, 1.0]),
        }
    ),
)
def test_any_recipe_gives_an_image_of_the_size_by_the_seed_alone(seed, options):
    """uint8 of the model's size, the label kept; the same random numbers give the same image."""
    once, again = (Augment(24, **options)(element(), np.random.default_rng(seed)) for _ in range(2))
    assert once["image"].shape == (24, 24, 3)
    assert once["image"].dtype == np.uint8
    assert once["label"] == 3
    np.testing.assert_array_equal(once["image"], again["image"])


def test_without_a_recipe_an_image_of_the_size_stays_as_it_is():
    """Neither training nor looking touches it."""
    square = PHOTO[:32, :32]
    for transform in (Augment(32), Centre(32)):
        np.testing.assert_array_equal(
            transform(element(square), np.random.default_rng(0))["image"], square
        )


def test_centre_is_the_centre():
    """Of 40 x 56 pixels the 40 in the middle; with a ratio of one half, 20 of them."""
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(Centre(40)(element(), rng)["image"], PHOTO[:, 8:48])
    np.testing.assert_array_equal(Centre(20, 0.5)(element(), rng)["image"], PHOTO[10:30, 18:38])


def test_flips_half_of_the_images():
    """Over 400 draws; flipped ones are mirrored."""
    square = PHOTO[:32, :32]
    made = [
        Augment(32, flip=True)(element(square), np.random.default_rng(seed))["image"]
        for seed in range(400)
    ]
    flipped = [(image == square[:, ::-1]).all() for image in made]
    assert 150 < sum(flipped) < 250
    assert all((image == square).all() for image, was in zip(made, flipped, strict=True) if not was)


def test_padding_moves_the_image():
    """By up to so many pixels either way; what stays is the image's own."""
    square = PHOTO[:32, :32]
    offsets = set()
    for seed in range(200):
        moved = Augment(32, padding=2)(element(square), np.random.default_rng(seed))["image"]
        fits = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if (moved[2 + dy : 30 + dy, 2 + dx : 30 + dx] == square[2:30, 2:30]).all()
        ]
        assert len(fits) == 1
        offsets |= set(fits)
    assert len(offsets) == 25


def test_erasing_takes_a_rectangle():
    """Two percent to a third of the area, all within a rectangle; the rest is untouched."""
    square = np.zeros((32, 32, 3), np.uint8)
    for seed in range(50):
        changed = (augment.erase(square, np.random.default_rng(seed)) != 0).any(axis=-1)
        rows = np.flatnonzero(changed.any(axis=1))
        columns = np.flatnonzero(changed.any(axis=0))
        area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert 0.01 < area / 32**2 < 0.4
        assert changed.sum() > 0.9 * area


def test_crops_show_at_least_the_area_asked_for():
    """A gradient image tells where a crop was cut: its range of values bounds the share of each
    side.
    """
    x = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (64, 1, 3))
    for seed in range(100):
        crop = np.asarray(
            augment.resized_crop(Image.fromarray(x), np.random.default_rng(seed), 32, 0.5)
        ).astype(int)
        assert np.ptp(crop) / 255 > np.sqrt(0.5 * 3 / 4) - 0.1


@pytest.mark.parametrize("which", range(len(rand_augment.OPERATIONS)))
def test_every_operation_does_something_at_full_strength(which):
    """To a photograph with little contrast (which leaves no operation without an effect), in either
    direction.
    """
    image = Image.fromarray((PHOTO // 2 + 40).astype(np.uint8))
    for sign in (-1.0, 1.0):
        made = rand_augment.OPERATIONS[which](image, 1.0, sign)
        assert made.size == image.size
        assert (np.asarray(made) != np.asarray(image)).any()


def test_randaugment_draws_twice_with_one_half_each():
    """A quarter of the images come through unchanged, or a little more where an operation does
    nothing.
    """
    image = Image.fromarray((PHOTO // 2 + 40).astype(np.uint8))
    same = [
        rand_augment.rand_augment(image, np.random.default_rng(seed), 2, 9.0) is image
        for seed in range(400)
    ]
    assert 0.18 < np.mean(same) < 0.33


@pytest.mark.parametrize(
    "options",
    [{"resized_crop": 1.5}, {"erasing": -0.1}, {"randaugment_magnitude": 11.0}, {"padding": 100}],
)
def test_impossible_recipes_are_named(options):
    """The field and its value."""
    with pytest.raises(UserError, match=rf"augment\.{next(iter(options))}"):
        Augment(32, **options)
