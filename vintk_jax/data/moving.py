"""The embedded clips: the digits of `data.digits`, moving over photographs. The class is the
direction. No download.

Each clip is a pure function of (split, index). One digit goes in a straight line, in one of eight
directions, a tenth to one and a half pixels a frame. Another trembles at its place. Any one frame
shows two digits and says nothing of which one moves. Large patches add the two up, small ones keep
them apart. Two frames tell a fast digit's way from the trembling; a slow one takes more. (Our
choice, fixed before any assigner was trained on them.)
"""

import numpy as np
from jaxtyping import UInt8

from vintk_jax.data import digits

FRAMES = 8
DIRECTIONS = (
    "east",
    "north-east",
    "north",
    "north-west",
    "west",
    "south-west",
    "south",
    "south-east",
)
COUNTS = {"train": 12000, "assign": 6000, "calibrate": 8000, "test": 2000}
_SIDES = (7.0, 13.0)  # pixels, the smallest and largest digit
_SPEEDS = (0.1, 1.5)  # pixels a frame, drawn evenly on a logarithmic axis
_OFF_CENTRE = 3.0  # pixels at most, of the middle of the way
_TREMBLING = 2.0  # pixels at most that the other digit is away from its place
_AWAY = (8.0, 11.0)  # pixels from the middle of the image to the other digit's place


def clip(split: str, index: int) -> tuple[UInt8[np.ndarray, "frames side side 3"], int]:
    """The clip of that number, and its direction.

    Raises:
        KeyError: for a split that there isn't.
    """
    _, shapes, _, members = digits.material()
    rng = np.random.default_rng([100 + list(COUNTS).index(split), index])

    def shape():
        return shapes[members[split][rng.integers(len(members[split]))]]

    label = int(rng.integers(len(DIRECTIONS)))
    speed = float(np.exp(rng.uniform(*np.log(_SPEEDS))))
    clutter = float(rng.uniform(*digits.CLUTTER))
    angle = label * np.pi / 4
    step = speed * np.array([np.cos(angle), -np.sin(angle)])  # rows count downwards
    middle = digits.SIDE / 2 + rng.uniform(-_OFF_CENTRE, _OFF_CENTRE, 2)
    way = middle + (np.arange(FRAMES)[:, None] - (FRAMES - 1) / 2) * step
    bearing = rng.uniform(0, 2 * np.pi)
    away = rng.uniform(*_AWAY)
    place = digits.SIDE / 2 + away * np.array([np.cos(bearing), np.sin(bearing)])
    trembling = place + rng.uniform(-_TREMBLING, _TREMBLING, (FRAMES, 2))
    image = np.broadcast_to(
        digits.darkened(digits.background(rng, digits.SIDE), clutter),
        (FRAMES, digits.SIDE, digits.SIDE, 3),
    )
    for path in (trembling, way):
        digit = shape()
        side = float(rng.uniform(*_SIDES))
        turned = float(rng.uniform(-0.15, 0.15))
        masks = digits.stamp(digit, side, path, turned, digits.SIDE)
        contrast = float(rng.uniform(*digits.CONTRASTS))
        image = digits.inked(image, masks, contrast, rng.uniform(0.75, 1.0, 3))
    return digits.as_pixels(image), label
