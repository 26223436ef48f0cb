"""Labelled clips from wherever they come, and what happens to their frames."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vintk_jax.data import digits, moving
from vintk_jax.data.augment import Augment
from vintk_jax.data.clip_views import ClipAugment, ClipViews, spread
from vintk_jax.data.clips import of_array, open_clips
from vintk_jax.errors import UserError

RNG = np.random.default_rng(0)


def numbered(frames, height=6, width=8):
    """A clip whose pixels say which frame it is, brighter to the right."""
    ramp = np.arange(width, dtype=np.uint8)[None, :, None] * 3
    return np.stack(
        [np.broadcast_to(ramp + 10 * i, (height, width, 3)) for i in range(frames)]
    ).astype(np.uint8)


def test_a_moving_digit_goes_where_its_class_says(monkeypatch):
    """Without the trembling, what differs between first and last frame has moved in the class's
    direction; the same number gives the same clip.
    """
    monkeypatch.setattr(moving, "_TREMBLING", 0.0)
    right = fast = 0
    for index in range(80):
        frames, label = moving.clip("test", index)
        assert frames.shape == (moving.FRAMES, digits.SIDE, digits.SIDE, 3)
        light = frames.astype(float).mean(-1)
        gained = np.clip(light[-1] - light[0], 0, None), np.clip(light[0] - light[-1], 0, None)
        places = np.mgrid[: digits.SIDE, : digits.SIDE]
        after, before = (
            np.array([(p * g).sum() / max(g.sum(), 1e-9) for p in places]) for g in gained
        )
        way = after - before
        angle = label * np.pi / 4
        if np.linalg.norm(way) > 4:
            fast += 1
            right += way @ np.array([-np.sin(angle), np.cos(angle)]) > 0.7 * np.linalg.norm(way)
        np.testing.assert_array_equal(frames, moving.clip("test", index)[0])
    assert fast > 20
    assert right > 0.9 * fast
    source = open_clips("digits", "test[:20]")
    assert (len(source), source.classes) == (20, moving.DIRECTIONS)


def test_one_frame_says_nothing_of_the_direction():
    """The first frame's digit is as often on one side as on the other of where the way's middle is
    drawn: classes don't show in a mean frame.
    """
    middles = {label: [] for label in range(8)}
    for index in range(300):
        frames, label = moving.clip("train", index)
        middles[label].append(frames[4].astype(float).mean())
    means = [np.mean(values) for values in middles.values()]
    assert np.ptp(means) < 4 * np.std(np.concatenate(list(middles.values()))) / np.sqrt(300 / 8)


def test_npz_of_equal_clips(tmp_path):
    """As they were saved, by split."""
    path = tmp_path / "set.npz"
    clips = RNG.integers(0, 256, (5, 4, 6, 6, 3), np.uint8)
    np.savez(
        path,
        x_train=clips,
        y_train=np.array([0, 2, 1, 0, 1]),
        class_names=np.array(["a", "b", "c"]),
    )
    source = open_clips(f"npz:{path}", "train")
    assert (len(source), source.classes) == (5, ("a", "b", "c"))
    np.testing.assert_array_equal(source[1]["clip"].read(np.array([0, 3])), clips[1, [0, 3]])
    with pytest.raises(UserError, match="x_test and y_test"):
        open_clips(f"npz:{path}", "test")


def test_npz_of_clips_one_behind_the_other(tmp_path):
    """Lengths say where each begins; a split is a condition, so that leaving one subject out needs
    no other file.
    """
    path = tmp_path / "set.npz"
    lengths = np.array([3, 5, 2])
    frames = RNG.integers(0, 256, (10, 4, 4, 3), np.uint8)
    np.savez(
        path, frames=frames, length=lengths, label=np.array([1, 0, 1]), subject=np.array([0, 1, 2])
    )
    assert len(open_clips(f"npz:{path}", "all")) == 3
    kept = open_clips(f"npz:{path}", "subject!=1")
    left = open_clips(f"npz:{path}", "subject=1")
    assert (len(kept), len(left)) == (2, 1)
    assert left[0]["clip"].length == 5
    np.testing.assert_array_equal(left[0]["clip"].read(np.array([4])), frames[7:8])
    np.testing.assert_array_equal(kept[1]["clip"].read(np.array([0, 1])), frames[8:])
    assert len(open_clips(f"npz:{path}", "subject=0,2")) == 2
    assert open_clips(f"npz:{path}", "subject!=0,2").frames == (5,)
    assert (
        source_lengths(open_clips(f"npz:{path}", "all[1:]"))
        == open_clips(f"npz:{path}", "all[1:]").frames
    )
    with pytest.raises(UserError, match=r"label, subject, got 'person=1'"):
        open_clips(f"npz:{path}", "person=1")


def source_lengths(source):
    """Frames of its clips, one by one."""
    return tuple(element["clip"].length for element in source)


def write_video(path, frames, container="mp4"):
    """An MPEG-4 file."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.bit_rate = 4_000_000
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())


def test_folders_of_videos_and_of_frames(tmp_path):
    """Both kinds beside each other; what can't be opened is left out and named; a folder without
    the split is told.
    """
    frames = numbered(12, 32, 48)
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
    write_video(tmp_path / "train" / "a" / "one.mp4", frames)
    (tmp_path / "train" / "a" / "broken.mp4").write_bytes(b"no video at all")
    (tmp_path / "train" / "b" / "two").mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "train" / "b" / "two" / f"{i:03d}.png")
    source = open_clips(f"clips:{tmp_path}", "train")
    assert (len(source), source.classes) == (2, ("a", "b"))
    assert "broken.mp4" in source.notes[0]
    video = source[0]["clip"]
    folder = source[1]["clip"]
    assert (video.length, folder.length) == (12, 12)
    wanted = np.array([0, 5, 11])
    np.testing.assert_array_equal(folder.read(wanted), frames[wanted])
    assert np.abs(video.read(wanted).astype(int) - frames[wanted]).mean() < 6
    with pytest.raises(UserError, match="no folder 'test'"):
        open_clips(f"clips:{tmp_path}", "test")


def test_a_codec_that_is_not_there(tmp_path):
    """Left out and named, and so is a file without pictures; the other clips are there."""
    folder = tmp_path / "train" / "a"
    folder.mkdir(parents=True)
    write_video(folder / "good.avi", numbered(5, 32, 48), "avi")
    (folder / "odd.avi").write_bytes((folder / "good.avi").read_bytes().replace(b"FMP4", b"ZZZZ"))
    source = open_clips(f"clips:{tmp_path}", "train")
    assert len(source) == 1
    assert len(source.notes) == 1
    assert "odd.avi has a codec that this PyAV doesn't know" in source.notes[0]


def test_a_truncated_video_repeats_its_last_frame(tmp_path, caplog):
    """Cut off in the middle: the frames that are there, then the last of them, and one message;
    with none left the file is left out and named.
    """
    (tmp_path / "train" / "a").mkdir(parents=True)
    path = tmp_path / "train" / "a" / "cut.avi"
    frames = RNG.integers(0, 256, (20, 64, 64, 3), np.uint8)
    write_video(path, frames, "avi")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 6 // 10])
    clip = open_clips(f"clips:{tmp_path}", "train")[0]["clip"]
    clip.read(np.arange(3))
    assert not caplog.records
    seen = clip.read(np.arange(20))
    clip.read(np.arange(20))
    assert [
        record.getMessage().partition(" frames: ")[0].split("cut.avi ")[1].rsplit(" ", 2)[1:]
        for record in caplog.records
    ] == [["of", "20"]]
    assert len(seen) == 20

    def grey(frame):
        return frame.astype(float).mean(-1).reshape(-1)

    assert np.corrcoef(grey(seen[3]), grey(frames[3]))[0, 1] > 0.6
    assert np.corrcoef(grey(seen[3]), grey(frames[4]))[0, 1] < 0.2
    np.testing.assert_array_equal(seen[19], seen[18])
    (tmp_path / "train" / "a" / "stump.avi").write_bytes(whole[:100])
    assert "stump.avi can't be opened" in open_clips(f"clips:{tmp_path}", "train").notes[0]


@given(
    start=st.integers(0, 5),
    extent=st.integers(1, 40),
    frames=st.integers(1, 12),
    length=st.integers(1, 40),
)
def test_frames_of_a_stretch(start, extent, frames, length):
    """Ascending, inside the clip; every frame once where as many are wanted as there are."""
    numbers = spread(start, extent, frames, length)
    assert len(numbers) == frames
    assert (np.diff(numbers) >= 0).all()
    assert 0 <= numbers.min() <= numbers.max() < length
    np.testing.assert_array_equal(spread(0, frames, frames, frames), np.arange(frames))


def test_every_frame_is_augmented_alike():
    """One crop, one place, one side for all frames of a clip; both sides occur; a clip that is too
    short shows frames twice.
    """
    element = {"clip": of_array(numbered(6, 16, 16)), "label": 1}
    mirrored = 0
    augment = ClipAugment(Augment(16, padding=4, flip=True), 3)
    for seed in range(40):
        out = augment(element, np.random.default_rng(seed))
        np.testing.assert_array_equal(
            out["image"], augment(element, np.random.default_rng(seed))["image"]
        )
        assert out["image"].shape == (3, 16, 16, 3)
        first = out["image"][0].astype(int)
        second = out["image"][1].astype(int)
        inside = first[..., 0] != digits_grey()
        assert len(np.unique((second - first)[inside & (second[..., 0] != digits_grey())])) == 1
        mirrored += first[8, 4, 0] > first[8, 11, 0]
    assert 10 < mirrored < 30
    short = ClipViews(16, 8)({"clip": of_array(numbered(3, 16, 16)), "label": 0}, RNG)["image"]
    np.testing.assert_array_equal((short[:, 0, 0, 0] // 10), [0, 0, 0, 1, 1, 2, 2, 2])
    middle = ClipViews(16, 2, stretch=2)({"clip": of_array(numbered(6, 16, 16)), "label": 0}, RNG)[
        "image"
    ]
    np.testing.assert_array_equal((middle[:, 0, 0, 0] // 10), [2, 3])


def test_a_still_clip_stays_still():
    """Crops, colours and erased rectangles are drawn once for all frames, and anew for each
    clip.
    """
    still = np.broadcast_to(
        np.random.default_rng(1).integers(0, 256, (1, 20, 24, 3), dtype=np.uint8), (5, 20, 24, 3)
    )
    augment = ClipAugment(
        Augment(16, resized_crop=0.3, padding=2, flip=True, randaugment_ops=2, erasing=1.0), 4
    )
    made = [
        augment({"clip": of_array(still), "label": 0}, np.random.default_rng(seed))["image"]
        for seed in range(8)
    ]
    for frames in made:
        np.testing.assert_array_equal(frames, np.broadcast_to(frames[:1], frames.shape))
    assert len({frames.tobytes() for frames in made}) == 8


@given(
    length=st.integers(1, 24),
    stretch=st.integers(1, 12),
    views=st.integers(1, 5),
    crops=st.integers(1, 3),
    sizes=st.sampled_from([(10, 16), (16, 10)]),
)
def test_views_of_a_clip(length, stretch, views, crops, sizes):
    """From the first stretch to the last and from one end of the frame to the other, a view being
    what the clip cut to it shows.
    """
    clip = numbered(length, *sizes)
    seen = ClipViews(8, 4, stretch, 1.0, views, crops)({"clip": of_array(clip), "label": 3}, RNG)
    extent = min(stretch, length)
    side = min(sizes)
    single = ClipViews(8, 4, stretch)

    def one(frames):
        return single({"clip": of_array(frames), "label": 3}, RNG)["image"]

    if views * crops == 1:
        np.testing.assert_array_equal(seen["image"], one(clip))
        return
    assert seen["image"].shape == (views * crops, 4, 8, 8, 3)
    assert seen["label"] == 3
    if views > 1:
        for view, start in ((0, 0), (views - 1, length - extent)):
            own = seen["image"].reshape(views, crops, 4, 8, 8, 3)[view]
            cut = clip[start : start + extent]
            if crops == 1:
                np.testing.assert_array_equal(own[0], one(cut))
            else:
                np.testing.assert_array_equal(own[0], one(cut[:, :side, :side]))
                np.testing.assert_array_equal(own[-1], one(cut[:, -side:, -side:]))


def digits_grey():
    """The red of what lies beyond an image's border."""
    from vintk_jax.data.augment import GREY

    return GREY[0]


def test_tfds(monkeypatch):
    """A set of videos with labels, as tfds gives it; that of ucf101 takes TensorFlow even to
    open.
    """
    tfds = pytest.importorskip("tensorflow_datasets")
    videos = np.random.default_rng(0).integers(0, 256, (2, 6, 20, 16, 3), np.uint8)

    class Set(list):
        """A list, with what tfds says of it."""

    given = Set({"video": video, "label": i} for i, video in enumerate(videos))
    features = {"video": None, "label": tfds.features.ClassLabel(names=["jump", "run"])}
    given.dataset_info = SimpleNamespace(features=features)
    monkeypatch.setattr(tfds, "data_source", lambda name, split: given)
    source = open_clips("tfds:some_actions", "train")
    assert source.classes == ("jump", "run")
    assert [source[i]["label"] for i in range(2)] == [0, 1]
    element = ClipViews(16, 4)(source[1], RNG)
    assert element["image"].shape == (4, 16, 16, 3)


def test_ucf101():
    """By its name, through tfds.testing.mock_data."""
    pytest.importorskip("tensorflow", reason="ucf101 needs TensorFlow: pip install '.[tfds]'")
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=2):
        source = open_clips("tfds:ucf101", "train")
    element = ClipViews(16, 4)(source[1], RNG)
    assert element["image"].shape == (4, 16, 16, 3)
    assert len(source.classes) == 101
