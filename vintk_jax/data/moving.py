"""The embedded clips: the digits of `data.digits`, moving over photographs; the class is the direction. No download.

Each clip is a pure function of (split, index): a digit of random size goes in a straight line, in one of eight directions, a tenth to one and a half
pixels a frame, over a still photograph. Where it is in any one frame says nothing of where it goes, so that one frame is not enough; fast ones are
told apart by two frames and large patches, slow ones want more of both (our choice, fixed before any assigner was trained on them).
"""

import numpy as np
from jaxtyping import UInt8

from vintk_jax.data import digits

FRAMES = 8
DIRECTIONS = ("east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east")
COUNTS = {"train": 12000, "assign": 3000, "calibrate": 1000, "test": 1000}
_SIDES = (7.0, 14.0)  # pixels, the smallest and largest digit
_SPEEDS = (0.1, 1.5)  # pixels a frame, drawn evenly on a logarithmic axis
_OFF_CENTRE = 3.0  # pixels at most, of the middle of the way


def clip(split: str, index: int) -> tuple[UInt8[np.ndarray, "frames side side 3"], int]:
    """The clip of that number, and its direction.

    Raises:
        KeyError: for a split that there isn't.
    """
    _, shapes, _, members = digits.material()
    rng = np.random.default_rng([100 + list(COUNTS).index(split), index])
    which = members[split][rng.integers(len(members[split]))]
    side, label = float(rng.uniform(*_SIDES)), int(rng.integers(len(DIRECTIONS)))
    speed = float(np.exp(rng.uniform(*np.log(_SPEEDS))))
    contrast, clutter = float(rng.uniform(*digits.CONTRASTS)), float(rng.uniform(*digits.CLUTTER))
    angle = label * np.pi / 4
    step = speed * np.array([np.cos(angle), -np.sin(angle)])  # rows count downwards
    middle = digits.SIDE / 2 + rng.uniform(-_OFF_CENTRE, _OFF_CENTRE, 2)
    turned = float(rng.uniform(-0.15, 0.15))
    way = middle + (np.arange(FRAMES)[:, None] - (FRAMES - 1) / 2) * step
    masks = np.stack([digits.stamp(shapes[which], side, (float(x), float(y)), turned, digits.SIDE) for x, y in way])
    photograph, ink = digits.background(rng, digits.SIDE), rng.uniform(0.75, 1.0, 3)
    return digits.laid_on(photograph, masks, contrast, clutter, ink), label
