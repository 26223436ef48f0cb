"""Where images come from: every source against what was put in, and every way it can go wrong."""

import numpy as np
import pytest
from PIL import Image

from vintk_jax.data import inputs
from vintk_jax.data.archives import MEAN, STD
from vintk_jax.errors import UserError


def destandardised(images):
    return images * STD + MEAN


def write_images(folder, count, size=(40, 30)):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f"{i}.png")


def test_photos_depend_on_the_seed_alone_and_look_like_photographs():
    first, again, other = (inputs.load("photos", 6, 32, seed).images for seed in (0, 0, 1))
    assert first.shape == (6, 32, 32, 3)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    pixels = destandardised(first)
    assert pixels.min() >= -1e-4
    assert pixels.max() <= 1 + 1e-4
    neighbours = np.mean((pixels[:, 1:] - pixels[:, :-1]) ** 2)
    # near pixels are alike, unlike noise
    assert neighbours < 0.5 * np.mean((pixels[:, 16:] - pixels[:, :-16]) ** 2)


def test_noise_is_standard_normal():
    images = inputs.load("noise", 16, 32, 3).images
    assert abs(images.mean()) < 0.02
    assert abs(images.std() - 1) < 0.02


def test_a_folder_gives_centre_squares_and_names_broken_images(tmp_path):
    write_images(tmp_path / "a", 5)
    Image.new("RGB", (8, 20), (255, 0, 0)).save(tmp_path / "red.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (tmp_path / "notes.txt").write_text("not an image")
    loaded = inputs.load(f"folder:{tmp_path}", 6, 16, 0)
    assert loaded.images.shape == (6, 16, 16, 3)
    assert any(np.allclose(destandardised(image), [1, 0, 0], atol=1e-6) for image in loaded.images)
    assert len(loaded.notes) == 1
    assert "broken.jpg" in loaded.notes[0]


def test_npz_images_of_the_right_size_come_back_unchanged(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", labels=np.arange(5), x=images)
    loaded = destandardised(inputs.load(f"npz:{tmp_path / 'data.npz'}", 5, 16, 0).images) * 255
    order = [int(np.argmin([np.abs(image - known).sum() for known in images])) for image in loaded]
    assert sorted(order) == list(range(5))
    np.testing.assert_allclose(loaded, images[order], atol=1e-3)


def test_grey_npz_images_become_rgb(tmp_path):
    np.savez(
        tmp_path / "grey.npz",
        x=np.random.default_rng(0).integers(0, 256, (4, 8, 8), dtype=np.uint8),
    )
    pixels = destandardised(inputs.load(f"npz:{tmp_path / 'grey.npz'}", 4, 8, 0).images)
    np.testing.assert_allclose(pixels[..., 0], pixels[..., 2], atol=1e-5)


def test_tfds_names_that_cannot_be_loaded_are_told(monkeypatch):
    import tensorflow_datasets as tfds

    def missing(*args, **kwargs):
        raise ValueError("no such dataset")

    monkeypatch.setattr(tfds, "data_source", missing)
    with pytest.raises(UserError, match="tfds:nosuch could not be loaded"):
        inputs.load("tfds:nosuch", 4, 16, 0)


def test_a_tfds_name_gives_its_images():
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=20):
        images = inputs.load("tfds:cifar10", 8, 32, 0).images
        np.testing.assert_array_equal(images, inputs.load("tfds:cifar10", 8, 32, 0).images)
        raw = [example["image"] for example in tfds.data_source("cifar10", split="train")]
    for image in destandardised(images) * 255:
        assert min(np.abs(image - known).max() for known in raw) < 1e-3


@pytest.mark.parametrize(
    ("source", "count", "says"),
    [
        ("imagenet", 4, "folder:PATH"),
        ("folder:", 4, "folder:PATH"),
        ("folder:/nowhere", 4, "no folder"),
        ("npz:/nowhere.npz", 4, "no file"),
        ("photos", 1, "two images"),
    ],
)
def test_mistakes_are_told(source, count, says):
    with pytest.raises(UserError, match=says):
        inputs.load(source, count, 16, 0)


def test_too_few_or_no_images_are_told(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"0 readable image\(s\).*broken.png"):
        inputs.load(f"folder:{tmp_path}", 4, 16, 0)
    np.savez(tmp_path / "floats.npz", x=np.full((9, 8, 8, 3), 255.0))
    with pytest.raises(UserError, match="float64"):
        inputs.load(f"npz:{tmp_path / 'floats.npz'}", 4, 16, 0)
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(UserError, match="could not be read"):
        inputs.load(f"npz:{tmp_path / 'torn.npz'}", 4, 16, 0)
