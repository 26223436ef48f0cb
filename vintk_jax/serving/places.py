"""Images in work, as the front counts them: the tickets that somebody waits for, and how many
places there are.
"""

import asyncio

import numpy as np

from vintk_jax.serving.metrics import Metrics
from vintk_jax.serving.refusals import Refused, busy


class Ticket:
    """Images that somebody waits for.

    Attributes:
        number: of the ticket.
        count: images.
        lengths: number of the length of each, cheapest first from 0.
        probabilities: (count, classes).
        waited, run: milliseconds.
    """

    def __init__(self, number: int, count: int, classes: int):
        self.number = number
        self.count = count
        self.lengths = np.zeros(count, int)
        self.probabilities = np.zeros((count, classes), np.float32)
        self.waited = np.zeros(count, np.float32)
        self.run = np.zeros(count, np.float32)
        self.done: asyncio.Future = asyncio.get_running_loop().create_future()
        self._left = count

    def take(self, rows: np.ndarray, probabilities: np.ndarray) -> None:
        """Answers to some of its images."""
        places = rows["index"]
        self.lengths[places] = rows["length"]
        self.probabilities[places] = probabilities
        self.waited[places] = rows["waited"]
        self.run[places] = rows["run"]
        self._left -= len(rows)
        if not self._left and not self.done.done():
            self.done.set_result(self)

    @property
    def left(self) -> int:
        """Images without an answer."""
        return self._left

    def fail(self, refused: Refused) -> None:
        """There will be no answer."""
        if not self.done.done():
            self.done.set_exception(refused)


class Places:
    """How many images may be in work."""

    def __init__(self, most: int, metrics: Metrics):
        self._most = most
        self._metrics = metrics
        self._taken = 0
        self.rate = 0.0  # images a second that were answered of late

    def take(self, count: int) -> None:
        """Take places.

        Raises:
            Refused: when there are not so many.
        """
        if self._taken + count > self._most:
            reason = (
                f"{self._taken:,} images are in work, and at most {self._most:,} may be. Ask again "
                "later."
            )
            if count > self._most:
                raise Refused(
                    413, f"Expected at most {self._most:,} images at once, got {count:,}."
                )
            raise busy(reason, self._taken / max(self.rate, 1.0) if self.rate else 1.0)
        self.give(-count)

    def give(self, count: int) -> None:
        """Give places back."""
        self._taken -= count
        self._metrics.queued.set(self._taken)
