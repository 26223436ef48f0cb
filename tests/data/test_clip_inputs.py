"""Clips that architectures are scored on: the trainings' sources, and what can go wrong."""

import numpy as np
import pytest
from PIL import Image

from vintk_jax.data import clip_inputs, moving
from vintk_jax.data.archives import MEAN, STD
from vintk_jax.errors import UserError


def write_clips(top, count, frames=3):
    for i in range(count):
        folder = top / "train" / "a" / f"clip{i}"
        folder.mkdir(parents=True)
        for frame in range(frames):
            Image.fromarray(np.full((8, 8, 3), 10 * i + frame, np.uint8)).save(
                folder / f"{frame}.png"
            )


def test_moving_digits_depend_on_the_seed_alone():
    """Clips of the embedded set, standardised, no two of them the same one."""
    first, again, other = (
        clip_inputs.load("digits", "train[:50]", 4, 8, 32, seed).images for seed in (0, 0, 1)
    )
    assert first.shape == (4, 8, 32, 32, 3)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    known = [moving.clip("train", i)[0] for i in range(50)]
    chosen = [
        int(np.argmin([np.abs(clip - one).sum() for one in known]))
        for clip in (first * STD + MEAN) * 255
    ]
    assert len(set(chosen)) == 4
    np.testing.assert_allclose((first[0] * STD + MEAN) * 255, known[chosen[0]], atol=1e-3)


def test_noise_is_standard_normal():
    clips = clip_inputs.load("noise", "train", 4, 8, 32, 3).images
    assert clips.shape == (4, 8, 32, 32, 3)
    assert abs(clips.mean()) < 0.02
    assert abs(clips.std() - 1) < 0.02


def test_a_folder_of_clips_with_a_broken_one(tmp_path):
    """Broken ones are skipped and named: what can't be opened, and what turns out to be broken when
    it is read.
    """
    write_clips(tmp_path, 3)
    (tmp_path / "train" / "a" / "clip1" / "1.png").write_bytes(b"nothing")
    (tmp_path / "train" / "a" / "bad.mp4").write_bytes(b"nothing")
    loaded = clip_inputs.load(f"clips:{tmp_path}", "train", 2, 3, 8, 0)
    values = np.round(((loaded.images * STD + MEAN) * 255)[:, :, 0, 0, 0])
    assert sorted(values.tolist()) == [[0, 1, 2], [20, 21, 22]]
    assert "bad.mp4" in " ".join(loaded.notes)
    with pytest.raises(UserError, match=r"inputs.num_images=3 clips .*holds 2 readable clip\(s\)"):
        clip_inputs.load(f"clips:{tmp_path}", "train", 3, 3, 8, 0)


@pytest.mark.parametrize(
    ("source", "split", "count", "says"),
    [
        ("photos", "train", 4, "the space takes clips: digits, noise, clips:PATH"),
        (
            "clips:/nowhere",
            "train",
            4,
            "from inputs.source=clips:/nowhere, inputs.split=train.*no folder",
        ),
        ("digits", "validation", 4, "inputs.split=validation.*train, assign, calibrate, test"),
        ("digits", "train[:3]", 4, "holds 3 readable"),
        ("digits", "train", 1, "two clips"),
    ],
)
def test_mistakes_are_told(source, split, count, says):
    with pytest.raises(UserError, match=says):
        clip_inputs.load(source, split, count, 8, 32, 0)
