"""Labelled clips by number: the embedded moving digits, folders of video files or of frames, npz
archives, TensorFlow Datasets.

An element is {"clip": `Clip`, "label": int}: frames are read when it is known which are wanted
(`data.clip_views`). PyAV decodes videos.
"""

import dataclasses
import logging
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
    is left out and named in `Source.notes`.
    """
    root = walk.folder(where, f"data.source=clips:{where}")
    top = walk.split_folder(root, split)
    if top is None:
        there = ", ".join(walk.readable(child.name) for child in walk.folders_in(root)[:8])
        raise UserError(
            f"{root} has no folder {split!r}; it holds {there or 'no folders'}. Name one with "
            "data.*_split."
        )
    classes = [child.name for child in walk.folders_in(top)]
    found, broken, files = [], [], []
    for label, name in enumerate(classes):
        own = [path for path in (top / name).iterdir() if walk.belongs(path.name)]
        for path in walk.natural(own):
            try:
                if path.is_dir() and (frames := walk.frames_below(path)):
                    found.append((_of_frames(frames), label))
                    files += frames
                elif path.suffix.lower() in VIDEOS:
                    found.append((_of_video(path, _probed(path)), label))
                    files.append(path)
            except UserError as error:
                broken.append(str(error))
    if not found:
        raise UserError(
            f"{top} holds no clips in class folders: videos ({', '.join(sorted(VIDEOS))}) or "
            "folders of images were wanted."
            + (f" {len(broken)} can't be read: {broken[0]}" if broken else "")
        )
    named = "; ".join(broken[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
    notes = (f"Left out {len(broken)} clip(s) of {split}: {named}",) if broken else ()
    labels = np.array([label for _, label in found])
    own = identity.of_words(identity.of_files(files), identity.of_arrays(labels), classes)
    return _source([clip for clip, _ in found], labels, classes, own, notes)


def _source(
    clips: Sequence[Clip],
    labels: Int[np.ndarray, " n"],
    classes: Sequence[str],
    own: str,
    notes: Sequence[str] = (),
) -> Source:
    """Clips whose lengths are known without reading them; `own` is the source's identity."""
    get = lambda i: {"clip": clips[i], "label": int(labels[i])}
    return Source(len(clips), get, classes, notes, [clip.length for clip in clips], own)


def _npz(where: str, split: str) -> Source:
    """Arrays x_SPLIT (n, frames, height, width, 3) and y_SPLIT (n,); or frames of all clips one
    behind the other, length (n,) and label (n,).

    Of the second kind a split is a condition on an array of n numbers: "subject=3", "subject!=3,4",
    or "all".
    """
    with images.npz(where, f"data.source=npz:{where}") as (path, arrays):
        if {"frames", "length", "label"} <= set(arrays.files):
            frames, lengths, labels = arrays["frames"], arrays["length"], arrays["label"]
            chosen = _chosen(path, arrays, split, len(labels))
            frames = pixels.to_uint8(frames, f"{path}[frames]")
            starts = np.concatenate([[0], np.cumsum(lengths)])
            clips = [of_array(frames[starts[i] : starts[i + 1]]) for i in chosen]
            whole = frames.ndim == 4 and frames.shape[-1] == 3 and starts[-1] == len(frames)
            images.check_labels(labels, arrays, f"{path}[label]", len(lengths))
            names = images.class_names(labels, arrays)
            labels = labels[chosen]
        else:
            missing = [name for name in (f"x_{split}", f"y_{split}") if name not in arrays.files]
            if missing:
                raise UserError(
                    f"{path} holds {', '.join(arrays.files) or 'nothing'}; "
                    f"{' and '.join(missing)}, or frames, length and label, were wanted."
                )
            frames = pixels.to_uint8(arrays[f"x_{split}"], f"{path}[x_{split}]")
            clips = [of_array(clip) for clip in frames]
            whole = frames.ndim == 5 and frames.shape[-1] == 3
            labels, names = images.labels_of(arrays, path, split, len(frames))
    if not whole or not len(labels):
        raise UserError(
            f"{path} holds {frames.dtype}{frames.shape} frames and {labels.dtype}{labels.shape} "
            f"labels for {split}; frames with three channels and a label for each clip were wanted."
        )
    own = identity.of_words(identity.of_arrays(frames, labels), names, split)
    return _source(clips, labels, names, own)


def _chosen(path: Path, arrays: Any, split: str, count: int) -> Int[np.ndarray, " n"]:
    """The clips that a condition such as "subject=3" or "subject!=3,4" picks."""
    name, unequal, value = split.partition("!=") if "!=" in split else split.partition("=")
    if split == "all":
        return np.arange(count)
    values = value.split(",")
    if (
        name not in arrays.files
        or arrays[name].shape != (count,)
        or not all(each.removeprefix("-").isdigit() for each in values)
    ):
        fitting = [key for key in arrays.files if arrays[key].shape == (count,) and key != "length"]
        raise UserError(
            f"The split {split!r} came; {path} takes all, or NAME=NUMBER or NAME!=NUMBER (or "
            f"NUMBER,NUMBER) with NAME one of {', '.join(fitting)}."
        )
    return np.flatnonzero(
        np.isin(arrays[name], [int(each) for each in values]) != (unequal == "!=")
    )


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
