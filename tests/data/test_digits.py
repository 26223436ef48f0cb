"""The embedded images."""

import numpy as np
import pytest

from vintk_jax.data import digits


def test_an_image_is_a_function_of_its_number():
    """The same number gives the same image in any order; others give others."""
    first = digits.scene("train", 5)
    others = [digits.scene("train", i) for i in (6, 7)]
    again = digits.scene("train", 5)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.label == again.label
    assert all((first.image != other.image).any() for other in others)
    assert (digits.scene("test", 5).image != first.image).any()


def test_no_handwritten_digit_is_in_both_splits():
    """The members of the four splits are disjoint and cover all."""
    members = digits.material()[3]
    together = np.concatenate([*members.values()])
    assert len(together) == len(set(together)) == 1797
    assert members.keys() == digits.COUNTS.keys()
    assert 170 < len(members["test"]) < 190


def test_the_mask_is_where_the_digit_is():
    """The digit lightens what is behind it, there and nowhere else; its extent is the side that the
    scene states.
    """
    for index in range(40):
        made = digits.scene("train", index)
        inside = made.mask > 0.9
        outside = made.mask == 0
        assert made.image[inside].mean() > made.image[outside].mean()
        rows = np.flatnonzero(made.mask.max(axis=1) > 0.05)
        assert rows[-1] - rows[0] + 1 <= 1.3 * made.side + 3
        assert digits._DIGIT_SIDES[0] <= made.side <= digits._DIGIT_SIDES[1]


def test_labels_are_even_and_splits_are_as_long_as_said():
    """Ten classes, none below 6% or above 14% of 500 images; the sequence has the promised
    length.
    """
    source = digits.Digits("test")
    assert len(source) == digits.COUNTS["test"]
    counts = np.bincount([source[i]["label"] for i in range(500)], minlength=10) / 500
    assert counts.min() > 0.06
    assert counts.max() < 0.14


def test_neither_brightness_nor_the_digits_size_gives_the_label_away():
    """The best threshold rule on mean brightness, size or contrast tells classes apart hardly
    better than chance.
    """
    from sklearn.model_selection import cross_val_score
    from sklearn.tree import DecisionTreeClassifier

    scenes = [digits.scene("train", i) for i in range(600)]
    labels = [s.label for s in scenes]
    brightness = [scene.image.mean() for scene in scenes]
    sides = [scene.side for scene in scenes]
    contrasts = [scene.contrast for scene in scenes]
    for values in (brightness, sides, contrasts):
        features = np.array(values)[:, None]
        tree = DecisionTreeClassifier(max_leaf_nodes=10, random_state=0)
        assert cross_val_score(tree, features, labels, cv=3).mean() < 0.2


@pytest.mark.parametrize("side", [16, 48])
def test_other_sides(side):
    """The whole scene scales."""
    made = digits.scene("train", 3, side)
    assert made.image.shape == (side, side, 3)
    assert made.side == pytest.approx(digits.scene("train", 3).side * side / 32)
