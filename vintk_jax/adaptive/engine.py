"""Adaptive inference on a stream: images come one by one, wait in a queue for each step until a batch is full or they have waited long enough, and
leave in the order in which they came.

A step is a compiled program (an assigner, or the model at one length) with batches of few fixed sizes; a plan says where an image goes first and,
after each step, whether it is answered or goes on. Fixed lengths, cascades and assigners differ in their plan alone, so that they can be compared.
"""

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from vintk_jax.errors import UserError

Image = UInt8[np.ndarray, "size size 3"]
DONE = -1


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came out for one image.

    Attributes:
        index: its place in the stream.
        length: the name of the length that answered; empty for an error.
        probabilities: of the classes; None for an error.
        error: what was wrong with the image.
    """

    index: int
    length: str = ""
    probabilities: Float[np.ndarray, " classes"] | None = None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Step:
    """A program, and what follows it.

    Attributes:
        name: of the length, for the answer.
        run: images (batch, size, size, 3) -> a tuple of arrays whose first axis is the batch; the first are
            probabilities, where it can answer.
        follow: those arrays, rows of real images only, -> the number of the next step of each image, or `DONE`.
    """

    name: str
    run: Callable[[UInt8[np.ndarray, "batch size size 3"]], tuple[Any, ...]]
    follow: Callable[[tuple[np.ndarray, ...]], Int[np.ndarray, " n"]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Steps, and which is the first for an image by its place in the stream."""

    steps: Sequence[Step]
    first: Callable[[int], int] = lambda index: 0


class Engine:
    """Runs plans.

    Args:
        plan: what to do with an image.
        image_size: pixels a side.
        batch_sizes: numbers of images that programs are compiled for; a group is filled up to the next of them.
        max_wait: seconds that an image may wait for company at each step; a lone image is answered after that.

    Raises:
        UserError: for sizes that aren't positive.
    """

    def __init__(self, plan: Plan, image_size: int, batch_sizes: Sequence[int] = (1, 8, 64), max_wait: int | float = 0.02):
        if not batch_sizes or min(batch_sizes) < 1 or max_wait < 0:
            raise UserError(
                f"Batch sizes {tuple(batch_sizes)} and a wait of {max_wait} s came; positive sizes and no negative wait were wanted."
            )
        self._plan, self._sizes, self._max_wait = plan, sorted(set(batch_sizes)), max_wait
        self._blank = np.zeros((image_size, image_size, 3), np.uint8)

    def warm_up(self) -> None:
        """Compile every step at every batch size."""
        for step in self._plan.steps:
            for size in self._sizes:
                for array in step.run(np.broadcast_to(self._blank, (size, *self._blank.shape)).copy()):
                    np.asarray(array)

    def __call__(self, images: Iterable[Image | UserError]) -> Iterator[Answer]:
        """Answers in the order of the images; an error in an image's place comes out in its place.

        At most a few batches are held at a time: the stream is read as answers are taken.
        """
        queues: list[deque] = [deque() for _ in self._plan.steps]
        finished: dict[int, Answer] = {}
        given = 0
        with _Reader(images, 2 * self._sizes[-1]) as reader:
            while True:
                for index, image in reader.take(self._room(queues, finished)):
                    if isinstance(image, UserError):
                        finished[index] = Answer(index, error=str(image))
                    else:
                        queues[self._plan.first(index)].append((time.monotonic(), index, image))
                which = self._ready(queues, reader.ended, self._room(queues, finished) == 0)
                if which is not None:
                    self._advance(which, queues, finished)
                while given in finished:
                    yield finished.pop(given)
                    given += 1
                if which is None and not any(queues) and reader.ended:
                    reader.check()
                    return
                if which is None:
                    oldest = min((queue[0][0] for queue in queues if queue), default=None)
                    reader.wait(None if oldest is None else max(oldest + self._max_wait - time.monotonic(), 0))

    def _room(self, queues: Sequence[deque], finished: Mapping[int, Answer]) -> int:
        """How many more images may be held: enough for a full batch at every step."""
        held = sum(map(len, queues)) + len(finished)
        return max((len(queues) + 2) * self._sizes[-1] - held, 0)

    def _ready(self, queues: Sequence[deque], ended: bool, crowded: bool) -> int | None:
        """A step with a full batch, the last first; else the one whose oldest image has waited too long, or that nothing more can fill."""
        full = [i for i, queue in enumerate(queues) if len(queue) >= self._sizes[-1]]
        if full:
            return full[-1]
        waiting = [(queue[0][0], i) for i, queue in enumerate(queues) if queue]
        if not waiting:
            return None
        if ended:  # earlier steps first: they fill the later ones
            return min(i for _, i in waiting)
        since, oldest = min(waiting)
        return oldest if crowded or time.monotonic() - since >= self._max_wait else None

    def _advance(self, which: int, queues: Sequence[deque], finished: dict[int, Answer]) -> None:
        step, queue = self._plan.steps[which], queues[which]
        group = [queue.popleft() for _ in range(min(len(queue), self._sizes[-1]))]
        size = next(size for size in self._sizes if size >= len(group))
        batch = np.stack([image for _, _, image in group] + [self._blank] * (size - len(group)))
        found = tuple(np.asarray(array)[: len(group)] for array in step.run(batch))
        now = time.monotonic()
        for row, (after, (_, index, image)) in enumerate(zip(step.follow(found), group, strict=True)):
            if after == DONE:
                finished[index] = Answer(index, step.name, found[0][row])
            else:
                queues[after].append((now, index, image))


class _Reader:
    """A thread that reads ahead, so that a slow source doesn't keep waiting images from being answered."""

    def __init__(self, images: Iterable, ahead: int):
        self._images, self._ahead = images, ahead
        self._read: deque = deque()
        self._changed = threading.Condition()
        self._over = self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "_Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        try:
            for numbered in enumerate(self._images):
                with self._changed:
                    self._changed.wait_for(lambda: self._stopped or len(self._read) < self._ahead)
                    if self._stopped:
                        return
                    self._read.append(numbered)
                    self._changed.notify_all()
        except BaseException as error:  # raised again when all before it is answered
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

    def take(self, most: int) -> list[tuple[int, Any]]:
        """What has been read by now."""
        with self._changed:
            taken = [self._read.popleft() for _ in range(min(len(self._read), most))]
            if taken:
                self._changed.notify_all()
            return taken

    def check(self) -> None:
        """Raise what the source raised."""
        if self._error is not None:
            raise self._error

    def wait(self, seconds: float | None) -> None:
        """Until there is more, or the time is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._read or self._over, seconds)
