"""Pairs of a picture and its map of labels: where they lie, what values mean, which are broken; and
their augmentation.
"""

from operator import itemgetter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vintk_jax.data import digits
from vintk_jax.data.dense import DenseAugment, WholePair
from vintk_jax.data.pairs import IGNORED, Labels, open_pairs
from vintk_jax.errors import UserError

RNG = np.random.default_rng(0)
LAYOUTS = [
    ("train", "trainannot"),
    ("images/train", "annotations/train"),
    ("train/images", "train/masks"),
]


def save(root, layout, count=4, values=(0, 1, 2, 7)):
    """Pictures of 6 x 5 pixels and maps that hold all the values."""
    made = []
    for part in layout:
        (root / part / "below").mkdir(parents=True)
    for i in range(count):
        image = RNG.integers(0, 256, (5, 6, 3), np.uint8)
        label = np.resize(RNG.permutation(np.resize(values, 30)), (5, 6)).astype(np.uint8)
        Image.fromarray(image).save(root / layout[0] / "below" / f"{i}.png")
        Image.fromarray(label).save(root / layout[1] / "below" / f"{i}.png")
        made.append((image, label))
    return made


@pytest.mark.parametrize("layout", LAYOUTS, ids=itemgetter(0))
def test_folders(layout, tmp_path):
    """Each layout is found; values become classes in the order given, ignored ones 255."""
    made = save(tmp_path, layout)
    source = open_pairs(f"pairs:{tmp_path}", "train", Labels((7, 0, 1), (2,), ("c", "a", "b")))
    assert (len(source), source.classes) == (4, ("c", "a", "b"))
    for i, (image, label) in enumerate(made):
        np.testing.assert_array_equal(source[i]["image"], image)
        np.testing.assert_array_equal(
            source[i]["label"], np.select([label == 7, label == 0, label == 1], [0, 1, 2], IGNORED)
        )
    assert len(open_pairs(f"pairs:{tmp_path}", "train[:50%]", Labels((0, 1, 2, 7)))) == 2


def test_values_that_nobody_names(tmp_path):
    """Without a list, the classes are all values up to the largest."""
    save(tmp_path, LAYOUTS[0], values=(0, 3, 255))
    assert open_pairs(f"pairs:{tmp_path}", "train", Labels()).classes == ("0", "1", "2", "3")


def test_broken_pairs_are_named(tmp_path):
    """A missing label, sizes that differ, a value that is no class, a file that is no picture, a
    map in colours: all at once, each by its file.
    """
    save(tmp_path, LAYOUTS[0], count=7)
    pictures = tmp_path / "train" / "below"
    maps = tmp_path / "trainannot" / "below"
    (maps / "0.png").unlink()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(maps / "1.png")
    Image.fromarray(np.full((5, 6), 9, np.uint8)).save(maps / "2.png")
    (pictures / "3.png").write_bytes(b"no picture")
    Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(maps / "4.png")
    with pytest.raises(UserError) as caught:
        open_pairs(f"pairs:{tmp_path}", "train", Labels((0, 1, 2, 7)))
    told = str(caught.value)
    assert "5 of the 7 pairs" in told
    for words in (
        "0.png has no label",
        "6 x 5 pixels",
        "4 x 4",
        "2.png holds 9",
        "3.png can't be read",
        "got uint8(5, 6, 3)",
        "0, 1, 2, 7",
    ):
        assert words in told
    with pytest.raises(UserError, match=r"'val'.*got train, trainannot"):
        open_pairs(f"pairs:{tmp_path}", "val", Labels())


def test_labels_that_contradict_themselves():
    """Names for another number of classes; a class that is ignored as well."""
    for wrong in (((0, 1), (255,), ("a",)), ((0, 1), (1,), ())):
        with pytest.raises(UserError, match=r"segmentation\.(names|labels)"):
            Labels(*wrong)


def test_npz(tmp_path):
    """Maps beside pictures; shapes that don't fit and values that are no class are named."""
    images = RNG.integers(0, 256, (3, 5, 6, 3), np.uint8)
    maps = RNG.integers(0, 3, (3, 5, 6)).astype(np.uint8)
    path = tmp_path / "set.npz"
    np.savez(path, x_train=images, y_train=maps)
    source = open_pairs(f"npz:{path}", "train", Labels())
    np.testing.assert_array_equal(source[1]["label"], maps[1])
    with pytest.raises(UserError, match=r"holds 2 .*classes are 0, 1"):
        open_pairs(f"npz:{path}", "train", Labels((0, 1)))
    np.savez(path, x_train=images, y_train=maps[:, :4])
    with pytest.raises(UserError, match=r"got uint8\(3, 5, 6, 3\) and uint8\(3, 4, 6\)"):
        open_pairs(f"npz:{path}", "train", Labels())


def test_digits_have_their_masks():
    """The map is the class where the generator's mask covers a pixel by half or more; pictures are
    those of the classification set.
    """
    source = open_pairs("digits", "test", Labels())
    assert source.classes[0] == "background"
    for i in range(5):
        scene = digits.scene("test", i)
        np.testing.assert_array_equal(source[i]["image"], scene.image)
        np.testing.assert_array_equal(source[i]["label"] == 1 + scene.label, scene.mask >= 0.5)
        assert set(np.unique(source[i]["label"])) == {0, 1 + scene.label}


def paired(height, width):
    """A picture whose red channel says the class of each pixel, so that the two can be compared
    after anything.
    """
    label = (
        RNG.integers(0, 5, (height // 4 + 1, width // 4 + 1))
        .repeat(4, 0)
        .repeat(4, 1)[:height, :width]
        .astype(np.uint8)
    )
    return {"image": np.stack([label * 40] * 3, -1), "label": label}


@given(
    height=st.integers(5, 40),
    width=st.integers(5, 40),
    flip=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_picture_and_map_move_together(height, width, flip, seed):
    """Unscaled, every pixel keeps its class, and what lies beyond the border has none; the same
    draw gives the same.
    """
    augment = DenseAugment(16, flip=flip)
    element = paired(height, width)
    got = augment(element, np.random.default_rng(seed))
    inside = got["label"] != IGNORED
    np.testing.assert_array_equal(
        got["image"][inside], np.stack([got["label"][inside] * 40] * 3, -1)
    )
    assert inside.sum() == min(height, 16) * min(width, 16)
    np.testing.assert_array_equal(
        augment(element, np.random.default_rng(seed))["image"], got["image"]
    )


def test_scaling_and_flipping():
    """Twice the size shows a quarter; mirrored ones are mirrored; both kinds occur."""
    element = paired(32, 32)
    big = DenseAugment(32, scale=(2.0, 2.0))(element, np.random.default_rng(0))
    assert len(np.unique(big["label"])) > 1
    blocks = big["label"].reshape(16, 2, 16, 2)
    assert ((blocks == blocks[:, :1, :, :1]).all(axis=(1, 3)).mean() > 0.9) or (
        (np.roll(big["label"], 1, 1) == big["label"]).mean() > 0.7
    )
    mirrored = [
        np.array_equal(
            DenseAugment(32, flip=True)(element, np.random.default_rng(i))["label"],
            element["label"][:, ::-1],
        )
        for i in range(20)
    ]
    assert 4 < sum(mirrored) < 16
    with pytest.raises(UserError, match=r"segmentation\.scale"):
        DenseAugment(16, scale=(2.0, 1.0))


def test_whole_pictures():
    """A smaller one lies in the upper left, a larger one is resized to fit; nothing but the border
    has no class.
    """
    small = WholePair(20, 30)(paired(10, 12), RNG)
    np.testing.assert_array_equal(
        small["label"] != IGNORED, np.pad(np.ones((10, 12), bool), ((0, 10), (0, 18)))
    )
    large = WholePair(20, 30)(paired(80, 60), RNG)
    np.testing.assert_array_equal(
        large["label"] != IGNORED, np.pad(np.ones((20, 15), bool), ((0, 0), (0, 15)))
    )
    assert large["image"].shape == (20, 30, 3)


def test_tfds():
    """Sets by their names, through tfds.testing.mock_data, whose maps hold any value, and for
    ADE20K have any size: told by their number.
    """
    tfds = pytest.importorskip("tensorflow_datasets")
    name = "tfds:cityscapes/semantic_segmentation"
    every = Labels(tuple(range(1, 20)), (0, *range(20, 256)))
    with tfds.testing.mock_data(num_examples=3):
        source = open_pairs(name, "train", every)
        strict = open_pairs(name, "train", Labels((1, 2)))
        other = open_pairs("tfds:scene_parse150", "train", every)
        with pytest.raises(UserError, match=r"doesn't say which values.*segmentation\.labels"):
            open_pairs(name, "train", Labels())
        with pytest.raises(UserError, match="image with annotation"):
            open_pairs("tfds:cifar10", "train", Labels((1,)))
    element = source[0]
    assert len(source) == 3
    assert element["image"].shape[:2] == element["label"].shape
    assert set(np.unique(element["label"])) <= {*range(19), IGNORED}
    with pytest.raises(UserError, match=r"Number 0 .*neither a class nor ignored"):
        strict[0]
    with pytest.raises(UserError, match=r"Number 0 .*its map of"):
        other[0]
