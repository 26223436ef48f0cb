"""Clips whose frames are read on demand, from an array, a folder of images, or a video (PyAV)."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from vintk_jax.data import pixels
from vintk_jax.errors import UserError

Frames = UInt8[np.ndarray, "frames height width 3"]


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
    return Clip(len(frames), frames.__getitem__)


def of_frames(paths: list[Path]) -> Clip:
    """A folder of images, in the natural order of their names."""

    def read(wanted: Int[np.ndarray, " wanted"]) -> Frames:
        return np.stack([pixels.read_image(paths[i]) for i in wanted])

    return Clip(len(paths), read)


def of_video(path: Path, length: int) -> Clip:
    """A video file. One that ends before its header says repeats the last frame that can be
    decoded, and is named once.
    """
    warned = False

    def read(wanted: Int[np.ndarray, " wanted"]) -> Frames:
        nonlocal warned
        frames, last, count = _decode(path, wanted)
        if count <= wanted[-1] and not warned:
            warned = True
            logging.getLogger(__name__).warning(
                "%s ends after %d of %d frames: its last stands for the rest.", path, count, length
            )
        return np.stack([frames.get(i, last) for i in wanted.tolist()])

    return Clip(length, read)


def _decode(
    path: Path, wanted: Int[np.ndarray, " wanted"]
) -> tuple[dict[int, np.ndarray], np.ndarray, int]:
    """Decode a video up to the last frame that is wanted.

    Returns:
        The wanted frames by number, the last frame that was decoded, and how many were.

    Raises:
        UserError: naming the file, when no frame can be decoded.
    """
    import av

    needed = set(wanted.tolist())
    frames: dict[int, np.ndarray] = {}
    last = None
    count = 0
    try:
        with av.open(str(path)) as container:
            for i, frame in enumerate(container.decode(video=0)):
                last = frame
                count = i + 1
                if i in needed:
                    frames[i] = frame.to_ndarray(format="rgb24")
                if i >= wanted[-1]:
                    break
    except av.error.FFmpegError as error:
        if last is None:
            raise UserError(
                f"{path} can't be decoded ({error}). Mend or remove it; the same command goes on."
            ) from error
    if last is None:
        raise UserError(f"{path} holds no frames. Mend or remove it; the same command goes on.")
    return frames, last.to_ndarray(format="rgb24"), count


def count_frames(path: Path) -> int:
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
