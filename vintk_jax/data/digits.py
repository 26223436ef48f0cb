"""The embedded data set: real digits on real photographs, both from scikit-learn, put together by a
generator. No download.

Each image is a pure function of (split, index). A handwritten digit (UCI, 8 x 8) is enlarged to a
random size, coloured, and laid on a crop of a photograph, up to a sixth of its side from the
middle. Clutter and contrast vary. A few large patches know a digit only at places where they have
often seen it. Many small ones put it together wherever it is. That is what makes token lengths
differ (docs/adaptive.md). Sizes, places, contrasts and clutter are our choice, fixed before any
assigner was trained on them.
"""

import dataclasses
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL
from jaxtyping import Float, UInt8
from PIL import Image

from vintk_jax.data import shipped
from vintk_jax.data.generated import Example, Generated

SIDE = 32  # pixels of an image
# Images of each split. No handwritten digit is in two: a model trains on the first, learns when it
# needs how many tokens from the second, sets its thresholds by the third, and is measured on the
# last.
COUNTS = {"train": 32000, "assign": 8000, "calibrate": 2000, "test": 2000}
_SHARES = {"train": 0.7, "assign": 0.15, "calibrate": 0.05, "test": 0.1}  # of the 1,797 digits
NUM_CLASSES = 10
_INK = 0.5  # a pixel is the digit's, in a map of labels, if that share of it is covered
_DIGIT_SIDES = (10.0, 22.0)  # pixels, the smallest and largest digit
CONTRASTS = (0.7, 1.0)  # of the digit against what lies behind it
CLUTTER = (0.0, 0.3)  # contrast of the photograph
_OFF_CENTRE = 5.0  # pixels at most


@dataclasses.dataclass(frozen=True)
class Scene:
    """One image and what is known of it.

    Attributes:
        image: (side, side, 3).
        label: which digit.
        mask: which pixels are the digit's, as a share in [0, 1].
        side: of the digit in pixels; contrast: of the digit; clutter: of the photograph behind it.
    """

    image: UInt8[np.ndarray, "side side 3"]
    label: int
    mask: Float[np.ndarray, "side side"]
    side: float
    contrast: float
    clutter: float


@lru_cache
def material() -> tuple[list[Image.Image], np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Photographs, digits in [0, 1], their labels, and which digits belong to which split."""
    digits = shipped.digits()
    order = np.random.default_rng(0).permutation(len(digits.labels))
    parts: dict[str, list[np.ndarray]] = {split: [] for split in _SHARES}
    for label in range(NUM_CLASSES):  # every class in the same shares
        of_class = order[digits.labels[order] == label]
        ends = np.round(np.cumsum([*_SHARES.values()]) * len(of_class)).astype(int)
        for split, part in zip(_SHARES, np.split(of_class, ends[:-1]), strict=True):
            parts[split].append(part)
    members = {split: np.concatenate(part) for split, part in parts.items()}
    photographs = [Image.fromarray(photograph) for photograph in shipped.photographs()]
    return photographs, digits.images / 16, digits.labels, members


def background(rng: np.random.Generator, side: int) -> np.ndarray:
    """A square crop of a photograph, in [0, 1]."""
    photographs = material()[0]
    photograph = photographs[rng.integers(len(photographs))]
    extent = int(rng.integers(side, min(photograph.size) + 1))
    left, top = (int(rng.integers(0, size - extent + 1)) for size in photograph.size)
    crop = photograph.resize(
        (side, side), Image.Resampling.BILINEAR, box=(left, top, left + extent, top + extent)
    )
    return np.asarray(crop, np.float64) / 255


def stamp(
    digit: Float[np.ndarray, "rows rows"],
    side: float,
    centres: Float[np.ndarray, "n 2"],
    angle: float,
    canvas: int,
) -> Float[np.ndarray, "n canvas canvas"]:
    """How much of each pixel of a canvas the digit covers, once for each place. The digit is
    rotated by `angle` (radians) and scaled to `side` pixels about the place.
    """
    step = digit.shape[0] / side
    cos = np.cos(angle) * step
    sin = np.sin(angle) * step
    middle = digit.shape[0] / 2
    # a margin of a pixel keeps its border from being smeared out
    framed = Image.fromarray(np.pad(digit, 1).astype(np.float32))
    stamps = np.empty((len(centres), canvas, canvas))
    for stamped, (x, y) in zip(stamps, centres.tolist()):
        # PIL wants the way from output pixels to the digit's.
        backwards = (
            cos,
            sin,
            middle - cos * x - sin * y + 1,
            -sin,
            cos,
            middle + sin * x - cos * y + 1,
        )
        stamped[:] = framed.transform(
            (canvas, canvas), Image.Transform.AFFINE, backwards, Image.Resampling.BICUBIC
        )
    return np.clip(stamps, 0, 1)


def darkened(
    photograph: Float[np.ndarray, "side side 3"], clutter: float
) -> Float[np.ndarray, "side side 3"]:
    """A photograph with so much of its contrast left, dark enough for digits to be light on it.

    Digits are always light on darker. With light and dark at random, no linear map of the pixels
    tells digits apart, and a ViT stays on its first plateau for longer than the whole run may take
    (measured: 10% after 3 epochs).
    """
    grey = photograph.mean(axis=(0, 1))
    return 0.35 + clutter * (photograph - grey) + 0.3 * (grey - 0.5)


def inked(
    behind: Float[np.ndarray, "*frames side side 3"],
    mask: Float[np.ndarray, "*frames side side"],
    contrast: float,
    ink: Float[np.ndarray, " 3"],
) -> Float[np.ndarray, "*frames side side 3"]:
    """A digit's coverage of each pixel, in its ink, on what lies behind it."""
    return behind + (contrast * mask)[..., None] * (ink - behind)


def as_pixels(
    image: Float[np.ndarray, "*frames side side 3"],
) -> UInt8[np.ndarray, "*frames side side 3"]:
    """From [0, 1] to bytes."""
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8)


def scene(split: str, index: int, side: int = SIDE) -> Scene:
    """The image of that number.

    Raises:
        KeyError: for a split that there isn't.
    """
    _, digits, labels, members = material()
    rng = np.random.default_rng([list(COUNTS).index(split), index])
    which = members[split][rng.integers(len(members[split]))]
    scale = side / SIDE
    low, high = _DIGIT_SIDES
    digit_side = float(np.exp(rng.uniform(np.log(low), np.log(high)))) * scale
    contrast = float(rng.uniform(*CONTRASTS))
    clutter = float(rng.uniform(*CLUTTER))
    centre = tuple(side / 2 + rng.uniform(-_OFF_CENTRE, _OFF_CENTRE, 2) * scale)
    mask = stamp(digits[which], digit_side, np.array([centre]), rng.uniform(-0.15, 0.15), side)[0]

    photograph = background(rng, side)
    image = inked(darkened(photograph, clutter), mask, contrast, rng.uniform(0.75, 1.0, 3))
    return Scene(as_pixels(image), int(labels[which]), mask, digit_side, contrast, clutter)


def _depends() -> tuple[str, ...]:
    """What images depend on: this code, and the versions of what draws and resizes."""
    return (Path(__file__).read_text(), PIL.__version__, np.__version__, sys.byteorder, str(COUNTS))


class Digits:
    """The images of one split, by number: {"image": uint8 (32, 32, 3), "label": int}.

    Args:
        dense: whether labels are maps (32, 32) uint8 instead: 0 behind the digit, 1 + which digit
            on it.
    """

    def __init__(self, split: str, side: int = SIDE, *, dense: bool = False):
        self._dense = dense

        def make(index: int) -> Example:
            made = scene(split, index, side)
            if not dense:
                return made.image, np.int64(made.label)
            on_it = np.where(made.mask >= _INK, 1 + made.label, 0)
            return made.image, on_it.astype(np.uint8)

        name = f"digits-{split}-{side}{'-dense' if dense else ''}"
        self._made = Generated(name, _depends(), COUNTS[split], make)

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, index: int) -> dict:
        image, label = self._made[int(index)]
        return {"image": image, "label": label if self._dense else int(label)}

    def start(self) -> None:
        """Begin to make all of them."""
        self._made.start()
