"""Labelled clips by number: the embedded moving digits, folders of video files or of frames, npz
archives, TensorFlow Datasets.

An element is {"clip": `Clip`, "label": int}: frames are read when it is known which are wanted
(`data.clip_views`). PyAV decodes videos.
"""

import dataclasses
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from vintk_jax.data import identity, images, moving, pixels, walk
from vintk_jax.data.sources import Source, open_source
from vintk_jax.errors import UserError, nearest

Frames = UInt8[np.ndarray, "frames height width 3"]
VIDEOS = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v"}


@dataclasses.dataclass(frozen=True)
class Clip:
    """A clip that is read on demand.

    Attributes:
        length: its number of frames.
        read: from ascending frame numbers to these frames.
    """

    length: int
    read: Callable[[Int[np.ndarray, " wanted"]], Frames]


def of_array(frames: Frames) -> Clip:
    """A clip that lies in memory."""
    return Clip(len(frames), lambda wanted: frames[wanted])


def _of_frames(paths: list[Path]) -> Clip:
    """A folder of images, in the natural order of their names."""
    return Clip(len(paths), lambda wanted: np.stack([pixels.read_image(paths[i]) for i in wanted]))


def _of_video(path: Path, length: int) -> Clip:
    """A video file. One that ends before its header says repeats the last frame that can be
    decoded, and is named once.
    """
    told = False

    def read(wanted: Int[np.ndarray, " wanted"]) -> Frames:
        nonlocal told
        import av

        found: dict[int, np.ndarray] = {}
        needed, last = set(wanted.tolist()), None
        try:
            with av.open(str(path)) as container:
                for i, frame in enumerate(container.decode(video=0)):
                    last = frame
                    if i in needed:
                        found[i] = frame.to_ndarray(format="rgb24")
                    if i >= wanted[-1]:
                        break
        except av.error.FFmpegError as error:
            if last is None:
                raise UserError(
                    f"{path} can't be decoded ({error}). Mend or remove it; the same command goes "
                    "on."
                ) from error
        if last is None:
            raise UserError(f"{path} holds no frames. Mend or remove it; the same command goes on.")
        if i < wanted[-1] and not told:
            told = True
            logging.getLogger(__name__).warning(
                "%s ends after %d of %d frames: its last stands for the rest.", path, i + 1, length
            )
        end = last.to_ndarray(format="rgb24")
        return np.stack([found.get(i, end) for i in wanted.tolist()])

    return Clip(length, read)


def _probed(path: Path) -> int:
    """Frames of a video, by its header, or by counting packets where that doesn't say.

    Raises:
        UserError: naming the file, when it can't be opened, has no pictures or a codec that this
            PyAV doesn't know.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path} holds no pictures.")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise UserError(f"{path} has a codec that this PyAV doesn't know.")
            return stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
    except av.error.FFmpegError as error:
        raise UserError(f"{path} can't be opened as a video ({error}).") from error


def _digits(_: str, split: str) -> Source:
    """See `data.moving`."""
    if split not in moving.COUNTS:
        raise UserError(
            f"A split {split!r} came; the moving digits have "
            f"{', '.join(moving.COUNTS)}.{nearest(split, moving.COUNTS)}"
        )
    made: dict[int, dict[str, Any]] = {}

    def get(index: int) -> dict[str, Any]:
        if index not in made:
            frames, label = moving.clip(split, index)
            made[index] = {"clip": of_array(frames), "label": label}
        return made[index]

    own = identity.of_words("moving digits", split)
    return Source(moving.COUNTS[split], get, moving.DIRECTIONS, identity=own)


def _folder(where: str, split: str) -> Source:
    """PATH/SPLIT/CLASS/clip, a clip being a video file or a folder of images. What can't be opened
    is left out and named in `Source.notes`, and so is a class without any clip in any split.
    """
    root = walk.folder(where, f"data.source=clips:{where}")
    top = walk.split_folder(root, split)
    if top is None:
        there = ", ".join(walk.readable(child.name) for child in walk.folders_in(root)[:8])
        raise UserError(
            f"{root} has no folder {split!r}; it holds {there or 'no folders'}. Name one with "
            "data.*_split."
        )
    of_class = {child.name: _clips_in(child) for child in walk.folders_in(top)}
    others = [folder for folder in walk.folders_in(root) if folder != top]
    classes = [
        name
        for name, own in of_class.items()
        if own or any(_clips_in(other / name) for other in others)
    ]
    found, broken, files = [], [], []
    for label, name in enumerate(classes):
        for path, frames in of_class[name]:
            try:
                clip = _of_frames(frames) if frames else _of_video(path, _probed(path))
            except UserError as error:
                broken.append(str(error))
                continue
            found.append((clip, label))
            files += frames or [path]
    if not found:
        raise UserError(
            f"{top} holds no clips in class folders: videos ({', '.join(sorted(VIDEOS))}) or "
            "folders of images were wanted."
            + (f" {len(broken)} can't be read: {broken[0]}" if broken else "")
        )
    named = "; ".join(broken[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
    notes = [f"Left out {len(broken)} clip(s) of {split}: {named}"] if broken else []
    if empty := [walk.readable(name) for name in of_class if name not in classes]:
        notes.append(f"{walk.readable(top)}: no class, since no clip is in it: {', '.join(empty)}.")
    labels = np.array([label for _, label in found])
    own = identity.of_words(identity.of_files(files), identity.of_arrays(labels), classes)
    return _source([clip for clip, _ in found], labels, classes, own, notes)


def _clips_in(folder: Path) -> list[tuple[Path, list[Path]]]:
    """The clips of a class folder, in natural order: folders with their frames, and video files,
    which have none here. None where there is no such folder.
    """
    if not folder.is_dir():
        return []
    found = []
    for path in walk.natural([path for path in folder.iterdir() if walk.belongs(path.name)]):
        if path.is_dir():
            frames = walk.frames_below(path)
            if frames:
                found.append((path, frames))
        elif path.suffix.lower() in VIDEOS:
            found.append((path, []))
    return found


def _source(
    clips: Sequence[Clip],
    labels: Int[np.ndarray, " n"],
    classes: Sequence[str],
    own: str,
    notes: Sequence[str] = (),
) -> Source:
    """Clips whose lengths are known without reading them; `own` is the source's identity."""

    def get(i):
        return {"clip": clips[i], "label": int(labels[i])}

    return Source(len(clips), get, classes, notes, [clip.length for clip in clips], own)


def _npz(where: str, split: str) -> Source:
    """Arrays x_SPLIT (n, frames, height, width, 3) and y_SPLIT (n,); or frames of all clips one
    behind the other, length (n,) and label (n,).

    Of the second kind a split is a condition on an array of n numbers: "subject=3", "subject!=3,4",
    or "all".

    Raises:
        UserError: naming the array, for shapes, lengths and labels that don't fit together, and
            clips without frames.
    """
    with images.npz(where, f"data.source=npz:{where}") as (path, arrays):
        if {"frames", "length", "label"} <= set(arrays.files):
            frames, labels = arrays["frames"], arrays["label"]
            _check_frames(frames, f"{path}[frames]", "(frames, height, width, 3)")
            lengths = _lengths(arrays["length"], len(frames), f"{path}[length]")
            images.check_labels(labels, arrays, f"{path}[label]", len(lengths))
            chosen = _chosen(path, arrays, split, len(lengths))
            frames = pixels.to_uint8(frames, f"{path}[frames]")
            ends = np.cumsum(lengths)
            clips = [of_array(frames[ends[i] - lengths[i] : ends[i]]) for i in chosen]
            names = images.class_names(labels, arrays)
            labels = labels[chosen]
        else:
            missing = [name for name in (f"x_{split}", f"y_{split}") if name not in arrays.files]
            if missing:
                raise UserError(
                    f"{path} holds {', '.join(arrays.files) or 'nothing'}; "
                    f"{' and '.join(missing)}, or frames, length and label, were wanted."
                )
            frames, what = arrays[f"x_{split}"], f"{path}[x_{split}]"
            _check_frames(frames, what, "(n, frames, height, width, 3)")
            frames = pixels.to_uint8(frames, what)
            clips = [of_array(clip) for clip in frames]
            labels, names = images.labels_of(arrays, path, split, len(frames))
    own = identity.of_words(identity.of_arrays(frames, labels), names, split)
    return _source(clips, labels, names, own)


def _check_frames(frames: np.ndarray, what: str, wanted: str) -> None:
    """Refuse frames of another shape, and none at all.

    Args:
        wanted: the shape, in words: an axis for each comma, and one more.
    """
    if frames.ndim != wanted.count(",") + 1 or frames.shape[-1] != 3 or not frames.size:
        raise UserError(
            f"Expected {what} of shape {wanted}, no axis of it 0, got {frames.dtype}{frames.shape}."
        )


def _lengths(lengths: np.ndarray, count: int, what: str) -> Int[np.ndarray, " n"]:
    """Lengths of clips that lie one behind the other, checked.

    Args:
        count: frames in all.
    """
    if lengths.ndim != 1 or not len(lengths) or not np.issubdtype(lengths.dtype, np.integer):
        raise UserError(
            f"Expected {what} to hold whole numbers, one a clip, got "
            f"{lengths.dtype}{lengths.shape}."
        )
    wrong = np.flatnonzero((lengths < 1) | (lengths > count))
    if len(wrong):
        raise UserError(
            f"Expected {what} from 1 to the {count:,} frames that there are, got "
            f"{lengths[wrong[0]]} (clip {wrong[0]}). Leave clips without frames out."
        )
    lengths = lengths.astype(np.int64)
    if lengths.sum() != count:
        raise UserError(
            f"Expected {what} to add up to the {count:,} frames that there are, got "
            f"{lengths.sum():,}."
        )
    return lengths


def _chosen(path: Path, arrays: Any, split: str, count: int) -> Int[np.ndarray, " n"]:
    """The clips that a condition such as "subject=3" or "subject!=3,4" picks."""
    name, unequal, value = split.partition("!=") if "!=" in split else split.partition("=")
    if split == "all":
        return np.arange(count)
    values = value.split(",")
    if (
        name not in arrays.files
        or arrays[name].shape != (count,)
        or not all(re.fullmatch("-?[0-9]{1,18}", each) for each in values)
    ):
        fitting = [key for key in arrays.files if arrays[key].shape == (count,) and key != "length"]
        raise UserError(
            f"The split {split!r} came; {path} takes all, or NAME=NUMBER or NAME!=NUMBER (or "
            f"NUMBER,NUMBER) with NAME one of {', '.join(fitting)}."
        )
    found = np.isin(arrays[name], [int(each) for each in values]) != (unequal == "!=")
    if not found.any():
        there = ", ".join(map(str, np.unique(arrays[name])[:8]))
        raise UserError(
            f"The split {split!r} came; {path}[{name}] has no such clip: it holds {there}."
        )
    return np.flatnonzero(found)


def _tfds(where: str, split: str) -> Source:
    """A TensorFlow Datasets set with features "video" and "label" (ucf101,
    something_something_v2).
    """
    loaded, features = images.tfds_split(
        where, split, f"data.source=tfds:{where}", ("video", "label")
    )

    def get(index: int) -> dict[str, Any]:
        element = loaded[index]
        return {"clip": of_array(np.asarray(element["video"])), "label": int(element["label"])}

    own = identity.of_words(where, images.tfds_version(loaded), split, len(loaded))
    return Source(len(loaded), get, features["label"].names, identity=own)


KINDS = {"digits": _digits, "clips": _folder, "npz": _npz, "tfds": _tfds}


def open_clips(where: str, split: str) -> Source:
    """A source of labelled clips.

    Args:
        where: "digits" (embedded), "clips:PATH" (a folder), "npz:PATH" or "tfds:NAME".
        split: as `sources.open_source` takes it.

    Raises:
        UserError: for what isn't there or can't be read.
    """
    return open_source(where, split, KINDS)
