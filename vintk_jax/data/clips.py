"""Labelled clips by number: the embedded moving digits, folders of video files or of frames, npz
archives, TensorFlow Datasets.

An element is {"clip": `Clip`, "label": int}: frames are read when it is known which are wanted
(`data.clip_views`).
"""

from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax.data import archives, folders, identity, moving
from vintk_jax.data.clip_archives import open_npz, source_of
from vintk_jax.data.clip_reading import Clip, count_frames, of_array, of_frames, of_video
from vintk_jax.data.sources import Source, open_source
from vintk_jax.errors import UserError, nearest

VIDEOS = {".mp4", ".avi", ".mkv", ".mov", ".webm", ".mpg", ".mpeg", ".m4v"}


def _digits(_: str, split: str) -> Source:
    """See `data.moving`."""
    if split not in moving.COUNTS:
        raise UserError(
            f"Expected a split of the moving digits ({', '.join(moving.COUNTS)}), got {split!r}."
            f"{nearest(split, moving.COUNTS)}"
        )
    made: dict[int, dict[str, Any]] = {}

    def get(index: int) -> dict[str, Any]:
        if index not in made:
            frames, label = moving.clip(split, index)
            made[index] = {"clip": of_array(frames), "label": label}
        return made[index]

    source_identity = identity.of_words("moving digits", split)
    return Source(moving.COUNTS[split], get, moving.DIRECTIONS, identity=source_identity)


def _folder(where: str, split: str) -> Source:
    """PATH/SPLIT/CLASS/clip, a clip being a video file or a folder of images. What can't be opened
    is left out and named in `Source.notes`, and so is a class without any clip in any split.
    """
    root = folders.folder(where, f"data.source=clips:{where}")
    top = folders.split_folder(root, split)
    if top is None:
        there = ", ".join(folders.readable(child.name) for child in folders.folders_in(root)[:8])
        raise UserError(
            f"{root} has no folder {split!r}; it holds {there or 'no folders'}. Name one with "
            "data.*_split."
        )
    of_class = {child.name: _clips_in(child) for child in folders.folders_in(top)}
    others = [folder for folder in folders.folders_in(root) if folder != top]
    classes = [
        name
        for name, clips in of_class.items()
        if clips or any(_clips_in(other / name) for other in others)
    ]
    clips: list[Clip] = []
    labels: list[int] = []
    files: list[Path] = []
    broken: list[str] = []
    for label, name in enumerate(classes):
        for path, frames in of_class[name]:
            try:
                clip = of_frames(frames) if frames else of_video(path, count_frames(path))
            except UserError as error:
                broken.append(str(error))
                continue
            clips.append(clip)
            labels.append(label)
            files += frames or [path]
    if not clips:
        unreadable = f" {len(broken)} can't be read: {broken[0]}" if broken else ""
        raise UserError(
            f"Expected clips in class folders of {top}, videos ({', '.join(sorted(VIDEOS))}) or "
            f"folders of images, got none.{unreadable}"
        )
    notes = []
    if broken:
        more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
        notes.append(f"Left out {len(broken)} clip(s) of {split}: {'; '.join(broken[:5])}{more}")
    empty = [folders.readable(name) for name in of_class if name not in classes]
    if empty:
        notes.append(
            f"{folders.readable(top)}: no class, since no clip is in it: {', '.join(empty)}."
        )
    all_labels = np.array(labels)
    source_identity = identity.of_words(
        identity.of_files(files), identity.of_arrays(all_labels), classes
    )
    return source_of(clips, all_labels, classes, source_identity, notes)


def _clips_in(folder: Path) -> list[tuple[Path, list[Path]]]:
    """The clips of a class folder, in natural order: folders with their frames, and video files,
    which have none here. None where there is no such folder.
    """
    if not folder.is_dir():
        return []
    clips = []
    for path in folders.natural([path for path in folder.iterdir() if folders.belongs(path.name)]):
        if path.is_dir():
            frames = folders.frames_below(path)
            if frames:
                clips.append((path, frames))
        elif path.suffix.lower() in VIDEOS:
            clips.append((path, []))
    return clips


def _tfds(where: str, split: str) -> Source:
    """A TensorFlow Datasets set with features "video" and "label" (ucf101,
    something_something_v2).
    """
    loaded, features = archives.tfds_split(
        where, split, f"data.source=tfds:{where}", ("video", "label")
    )

    def get(index: int) -> dict[str, Any]:
        element = loaded[index]
        return {"clip": of_array(np.asarray(element["video"])), "label": int(element["label"])}

    source_identity = identity.of_words(where, archives.tfds_version(loaded), split, len(loaded))
    return Source(len(loaded), get, features["label"].names, identity=source_identity)


KINDS = {"digits": _digits, "clips": _folder, "npz": open_npz, "tfds": _tfds}


def open_clips(where: str, split: str) -> Source:
    """A source of labelled clips.

    Args:
        where: "digits" (embedded), "clips:PATH" (a folder), "npz:PATH" or "tfds:NAME".
        split: as `sources.open_source` takes it.

    Raises:
        UserError: for what isn't there or can't be read.
    """
    return open_source(where, split, KINDS)
