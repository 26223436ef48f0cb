"""From a clip of any length and size to what a model is shown: frames of a stretch of it, all cropped and mirrored alike."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from vintk_jax.data.augment import centre_crop, padded_crop, resized_crop
from vintk_jax.data.clips import Clip


def spread(start: int | float, extent: int | float, frames: int, length: int) -> Int[np.ndarray, " frames"]:
    """Frame numbers: the middles of `frames` equal parts of a stretch; a clip that is shorter than that shows some of its frames twice."""
    wanted = start + (np.arange(frames) + 0.5) * extent / frames
    return np.clip(wanted.astype(int), 0, length - 1)


@dataclasses.dataclass(frozen=True)
class ClipAugment:
    """A training clip: a random stretch of it, the same random crop of every frame.

    Attributes:
        size: pixels a side of the result; frames: how many.
        stretch: frames of the clip that it covers, from a random start; 0: the whole clip.
        resized_crop, padding, flip: as in `augment.Augment`.
    """

    size: int
    frames: int
    stretch: int = 0
    resized_crop: float = 0.0
    padding: int = 0
    flip: bool = False

    def __call__(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """An element of a source, augmented."""
        clip: Clip = element["clip"]
        extent = min(self.stretch or clip.length, clip.length)
        read = clip.read(spread(int(rng.integers(clip.length - extent + 1)), extent, self.frames, clip.length))
        draw, mirrored = int(rng.integers(2**31)), self.flip and rng.random() < 0.5

        def one(frame: UInt8[np.ndarray, "height width 3"]) -> np.ndarray:
            same = np.random.default_rng(draw)  # for every frame of the clip
            if frame.shape[:2] != (self.size, self.size) or self.resized_crop or self.padding:
                image = Image.fromarray(frame)
                image = resized_crop(image, same, self.size, self.resized_crop) if self.resized_crop else centre_crop(image, self.size, 1.0)
                frame = np.asarray(padded_crop(image, same, self.padding) if self.padding else image)
            return frame[:, ::-1] if mirrored else frame

        return {"image": np.stack([one(frame) for frame in read]), "label": np.int32(element["label"])}


@dataclasses.dataclass(frozen=True)
class MiddleClip:
    """A clip that is only looked at: its middle stretch, the centre of every frame; fields as in `ClipAugment`."""

    size: int
    frames: int
    stretch: int = 0
    ratio: float = 1.0

    def __call__(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """An element of a source in the model's size; nothing is drawn."""
        clip: Clip = element["clip"]
        extent = min(self.stretch or clip.length, clip.length)
        read = clip.read(spread((clip.length - extent) // 2, extent, self.frames, clip.length))
        seen = [np.asarray(centre_crop(Image.fromarray(frame), self.size, self.ratio)) for frame in read]
        return {"image": np.stack(seen), "label": np.int32(element["label"])}
