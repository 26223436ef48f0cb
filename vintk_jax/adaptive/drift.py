"""How far what comes is from what thresholds were set on: lengths and confidences, as their shares.

The distance is the total variation: half the sum of the differences of the shares, 0 for the same
shares and 1 for shares that have nothing in common. A budget is kept on images like calibration's
only, so a distance says when to calibrate anew (our choice, of a distance that is a share of
images).
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

BINS = 10  # of confidences, equally wide from 0 to 1
_LEAST = 200  # images, below which nothing is said


def sure(confidences: Float[np.ndarray, " n"]) -> Int[np.ndarray, " bins"]:
    """How many of some confidences fall into each of `BINS` equal parts of [0, 1]."""
    return np.bincount(bins_of(confidences), minlength=BINS)


def bins_of(confidences: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """The number of the bin that each confidence falls into."""
    return np.clip((confidences * BINS).astype(int), 0, BINS - 1)


@dataclasses.dataclass(frozen=True)
class Reference:
    """What calibration saw at a setting.

    Attributes:
        images: how many.
        mix: share of images at each length.
        sure: share of answers in each bin of confidence.
    """

    images: int
    mix: tuple[float, ...]
    sure: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Distance:
    """What came, beside what calibration saw.

    Attributes:
        images: that came.
        mix, sure: the distances of lengths and of confidences.
        limit_mix, limit_sure: what the distances may be: as said, and what chance explains.
    """

    images: int
    mix: float
    sure: float
    limit_mix: float
    limit_sure: float

    @property
    def known(self) -> bool:
        """Whether enough images came to say anything."""
        return self.images >= _LEAST

    @property
    def beyond(self) -> bool:
        """Whether either distance is beyond its limit."""
        far = self.mix > self.limit_mix or self.sure > self.limit_sure
        return self.known and far


class Drift:
    """The latest images, compared with what calibration saw at their settings.

    Args:
        lengths: how many the model has.
        window: how many images are compared.
        limit: the distance that is worth a warning.
    """

    def __init__(self, lengths: int, window: int, limit: float):
        self._references: dict[int, Reference] = {}
        self._lengths = lengths
        self._limit = limit
        self._settings = np.full(window, -1)
        self._at = np.zeros(window, int)
        self._sure = np.zeros(window, int)
        self._count = 0

    def expect(self, setting: int, reference: Reference) -> None:
        """What calibration saw at a setting; images of others aren't compared."""
        self._references[setting] = reference

    def add(
        self,
        settings: Int[np.ndarray, " n"],
        lengths: Int[np.ndarray, " n"],
        confidences: Float[np.ndarray, " n"],
    ) -> None:
        """Images that were answered."""
        counted = np.isin(settings, list(self._references))
        count = int(counted.sum())
        places = (self._count + np.arange(count)) % len(self._settings)
        self._settings[places] = settings[counted]
        self._at[places] = lengths[counted]
        self._sure[places] = bins_of(confidences[counted])
        self._count += count

    def distance(self) -> Distance:
        """Of the latest images; each is expected as calibration's images at its setting were."""
        count = min(self._count, len(self._settings))
        if not count:
            return Distance(0, 0.0, 0.0, self._limit, self._limit)
        numbers, counts = np.unique(self._settings[:count], return_counts=True)
        references = [self._references[number] for number in numbers.tolist()]
        weights = counts / count
        least = min(reference.images for reference in references)
        mix = self._total_variation(
            self._at[:count], [reference.mix for reference in references], weights
        )
        sure = self._total_variation(
            self._sure[:count], [reference.sure for reference in references], weights
        )
        return Distance(
            count,
            mix,
            sure,
            self._limit + by_chance(self._lengths, count, least),
            self._limit + by_chance(BINS, count, least),
        )

    @staticmethod
    def _total_variation(
        came: Int[np.ndarray, " n"],
        expected: Sequence[Sequence[float]],
        weights: Float[np.ndarray, " settings"],
    ) -> float:
        wanted = weights @ np.array(expected, float)
        shares = np.bincount(came, minlength=len(wanted)) / len(came)
        return float(np.abs(shares - wanted).sum() / 2)


def by_chance(parts: int, came: int, saw: int) -> float:
    """A bound on the mean total variation between shares of two samples of one distribution in so
    many parts: sqrt(parts / (2 pi) x (1 / came + 1 / saw)), from the mean absolute value of normal
    deviations, largest where all parts are alike.
    """
    return math.sqrt(parts / (2 * math.pi) * (1 / came + 1 / saw))
