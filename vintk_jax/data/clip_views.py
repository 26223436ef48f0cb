"""From a clip of any length and size to what a model is shown: frames of a stretch of it, all
augmented alike.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Int
from PIL import Image

from vintk_jax.data.augment import Augment, centre_crop
from vintk_jax.data.clip_reading import Clip


def spread(
    start: int | float, extent: int | float, frames: int, length: int
) -> Int[np.ndarray, " frames"]:
    """Frame numbers: the middles of `frames` equal parts of a stretch. A shorter clip shows some of
    its frames twice.
    """
    wanted = start + (np.arange(frames) + 0.5) * extent / frames
    return np.clip(wanted.astype(int), 0, length - 1)


@dataclasses.dataclass(frozen=True)
class ClipAugment:
    """A training clip: a random stretch of it, every frame cropped, mirrored, coloured and erased
    alike.

    Attributes:
        augment: what happens to a frame; one draw for all of a clip's.
        frames: how many the result has.
        stretch: frames of the clip that it covers, from a random start; 0: the whole clip.
    """

    augment: Augment
    frames: int
    stretch: int = 0

    def __call__(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """An element of a source, augmented."""
        clip: Clip = element["clip"]
        extent = min(self.stretch or clip.length, clip.length)
        start = int(rng.integers(clip.length - extent + 1))
        frames = clip.read(spread(start, extent, self.frames, clip.length))
        label = np.int32(element["label"])
        # A generator of the same seed for each frame draws the same.
        seed = int(rng.integers(2**31))
        augmented = [
            self.augment({"image": frame, "label": label}, np.random.default_rng(seed))["image"]
            for frame in frames
        ]
        return {"image": np.stack(augmented), "label": label}


@dataclasses.dataclass(frozen=True)
class ClipViews:
    """A clip as it is evaluated, in one view or several (as TimeSformer, section 4, averages them).
    Nothing is drawn at random.

    Attributes:
        size: pixels a side of the result.
        frames, stretch: as in `ClipAugment`.
        ratio: side of a crop over the frame's shorter side.
        views: stretches, from the clip's first to its last; one: the middle.
        crops: squares of each along the frame's longer side, from end to end; one: the centre.
    """

    size: int
    frames: int
    stretch: int = 0
    ratio: float = 1.0
    views: int = 1
    crops: int = 1

    def __call__(self, element: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """An element of a source in the model's size; with several views they are the first axis,
        the crops of a stretch together.
        """
        clip: Clip = element["clip"]
        extent = min(self.stretch or clip.length, clip.length)
        starts = [int((clip.length - extent) * place) for place in _places(self.views)]
        numbers = np.stack([spread(start, extent, self.frames, clip.length) for start in starts])
        wanted, which = np.unique(numbers, return_inverse=True)
        frames = [Image.fromarray(frame) for frame in clip.read(wanted)]
        cropped = [
            [np.asarray(centre_crop(frame, self.size, self.ratio, place)) for frame in frames]
            for place in _places(self.crops)
        ]
        views = np.stack(cropped)[:, which.reshape(numbers.shape)].swapaxes(0, 1)
        views = views.reshape(-1, *views.shape[2:])
        image = views[0] if len(views) == 1 else views
        return {"image": image, "label": np.int32(element["label"])}


def _places(count: int) -> list[float]:
    """So many places from 0 to 1, with both ends. A single place is the middle."""
    if count == 1:
        return [0.5]
    return [i / (count - 1) for i in range(count)]
