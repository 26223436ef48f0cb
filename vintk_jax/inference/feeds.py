"""Where an engine takes images from: an array that lies in memory, or a stream that a thread reads
ahead.
"""

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from vintk_jax.errors import UserError

Image = UInt8[ndarray, "*image 3"]


class ArrayFeed:
    """Images that lie in memory: all there at once."""

    def __init__(self, images: UInt8[ndarray, "n *image 3"]):
        self._images = images
        self._taken = 0

    @property
    def ended(self) -> bool:
        """Whether all has been taken."""
        return self._taken >= len(self._images)

    def take(self, most: int) -> UInt8[ndarray, "n *image 3"]:
        """A slice, not copied."""
        taken = self._images[self._taken : self._taken + most]
        self._taken += len(taken)
        return taken

    def wait(self, seconds: int | float | None) -> None:
        """There is nothing to wait for."""

    def check(self) -> None:
        """Nothing can have gone wrong."""

    def close(self) -> None:
        """Nothing is held."""


class StreamFeed:
    """A thread reads ahead, so that a slow source doesn't keep images that are there from being
    answered.
    """

    def __init__(self, images: Iterable[Image | UserError], ahead: int):
        self._images = images
        self._ahead = ahead
        self._read: deque = deque()
        self._changed = threading.Condition()
        self._over = self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for image in self._images:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped or len(self._read) < self._ahead)
                    if self._stopped:
                        return
                    self._read.append(image)
                    self._changed.notify_all()
        except BaseException as error:  # raised again by `check`
            self._error = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether all has been read and taken."""
        with self._changed:
            return self._over and not self._read

    def check(self) -> None:
        """Raise what the stream raised."""
        if self._error is not None:
            raise self._error

    def take(self, most: int) -> list[Any]:
        """What has been read by now."""
        with self._changed:
            taken = [self._read.popleft() for _ in range(min(len(self._read), most))]
            if taken:
                self._changed.notify_all()
            return taken

    def wait(self, seconds: int | float | None) -> None:
        """Until there is more, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._read or self._over, seconds)

    def close(self) -> None:
        """Let the thread go; it ends when the stream gives its next image."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(timeout=1)


Feed = ArrayFeed | StreamFeed
