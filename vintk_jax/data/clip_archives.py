"""Clips in npz archives."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from vintk_jax.data import archives, identity, pixels
from vintk_jax.data.clip_reading import Clip, of_array
from vintk_jax.data.sources import Source
from vintk_jax.errors import UserError


def source_of(
    clips: Sequence[Clip],
    labels: Int[np.ndarray, " n"],
    classes: Sequence[str],
    source_identity: str,
    notes: Sequence[str] = (),
) -> Source:
    """A source of clips whose lengths are known without reading them."""

    def get(i: int) -> dict[str, Any]:
        return {"clip": clips[i], "label": int(labels[i])}

    return Source(len(clips), get, classes, notes, [clip.length for clip in clips], source_identity)


def open_npz(where: str, split: str) -> Source:
    """Open the clips of an npz.

    It has arrays x_SPLIT (n, frames, height, width, 3) and y_SPLIT (n,). Or it has frames (of all
    clips, one behind the other), length (n,) and label (n,). A split of the second kind is a
    condition on an array of n numbers, "subject=3" or "subject!=3,4", or it is "all".

    Raises:
        UserError: naming the array, for shapes, lengths and labels that don't fit together, and
            clips without frames.
    """
    with archives.npz(where, f"data.source=npz:{where}") as (path, arrays):
        if {"frames", "length", "label"} <= set(arrays.files):
            frames = arrays["frames"]
            labels = arrays["label"]
            _check_frames(frames, f"{path}[frames]", "(frames, height, width, 3)")
            lengths = _lengths(arrays["length"], len(frames), f"{path}[length]")
            archives.check_labels(labels, arrays, f"{path}[label]", len(lengths))
            chosen = _chosen(path, arrays, split, len(lengths))
            frames = pixels.to_uint8(frames, f"{path}[frames]")
            ends = np.cumsum(lengths)
            clips = [of_array(frames[ends[i] - lengths[i] : ends[i]]) for i in chosen]
            names = archives.class_names(labels, arrays)
            labels = labels[chosen]
        else:
            missing = [name for name in (f"x_{split}", f"y_{split}") if name not in arrays.files]
            if missing:
                raise UserError(
                    f"Expected {' and '.join(missing)}, or frames, length and label, in {path}, "
                    f"got {', '.join(arrays.files) or 'nothing'}."
                )
            frames = arrays[f"x_{split}"]
            name = f"{path}[x_{split}]"
            _check_frames(frames, name, "(n, frames, height, width, 3)")
            frames = pixels.to_uint8(frames, name)
            clips = [of_array(clip) for clip in frames]
            labels, names = archives.labels_of(arrays, path, split, len(frames))
    source_identity = identity.of_words(identity.of_arrays(frames, labels), names, split)
    return source_of(clips, labels, names, source_identity)


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
    if split == "all":
        return np.arange(count)
    name, sign, value = split.partition("!=" if "!=" in split else "=")
    values = value.split(",")
    if (
        name not in arrays.files
        or arrays[name].shape != (count,)
        or not all(re.fullmatch("-?[0-9]{1,18}", each) for each in values)
    ):
        fitting = [key for key in arrays.files if arrays[key].shape == (count,) and key != "length"]
        raise UserError(
            f"Expected the split of {path} to be all, or NAME=NUMBER or NAME!=NUMBER (or "
            f"NUMBER,NUMBER) with NAME one of {', '.join(fitting)}, got {split!r}."
        )
    chosen = np.isin(arrays[name], [int(each) for each in values])
    if sign == "!=":
        chosen = ~chosen
    if not chosen.any():
        there = ", ".join(map(str, np.unique(arrays[name])[:8]))
        raise UserError(
            f"Expected a split of {path} that has clips, got {split!r}: {name} holds {there}."
        )
    return np.flatnonzero(chosen)
