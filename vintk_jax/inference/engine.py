"""Adaptive inference: images wait in a queue for each step until a batch is full or they have
waited long enough, and leave in the order in which they came.

An image of a stream is due at its n-th step n x `max_wait` after it was taken. A step with images
that are due goes next, also ahead of full batches of other steps. It pays for the rows that its
batch isn't full by: the full batches earn that, a small share of their rows, so that throughput
falls by no more. And after each such turn (a full batch of rows at most) another full batch has
its own. Two full batches at most are taken ahead of what runs. So an image leaves within steps x
`max_wait` and a few batches, however busy the stream is and however rare its steps are.

A step is a compiled program (an assigner, or the model at one length) with batches of few fixed
sizes; a plan says where an image goes first and, after each step, whether it is answered or goes
on. Fixed lengths, cascades and assigners differ in their plan alone, so that they can be compared.
What is done for each image in Python is kept to list operations; the rest works on whole groups.
"""

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from vintk_jax.data.pixels import check_batch
from vintk_jax.errors import UserError
from vintk_jax.inference.batches import next_batch, wasted
from vintk_jax.inference.feeds import ArrayFeed, Feed, Image, StreamFeed

DONE = -1
_FAILED, _WAITING = -2, -1  # in place of the number of the step that answered
_RUNNING = 2  # groups handed to the device before the first's results are asked for
_AHEAD = 2  # full batches of a stream taken and not yet handed to the device
# Of a full batch's rows, what late images may waste; saved for so many full batches' rows at most.
_SHARE, _SAVED = 0.04, 2.0
_MOST_BYTES = 2**28  # of images held


class Answer(NamedTuple):
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
        name: of the length, for the answer; empty for a step that can't answer.
        run: images (batch, *image, 3) -> a tuple of arrays whose first axis is the batch; the first
            are probabilities, where it can answer.
        follow: those arrays, rows of real images only, -> the number of the next step of each
            image, or `DONE`.
        keep: weight that the probabilities known from an earlier step have in this one's.
    """

    name: str
    run: Callable[[UInt8[np.ndarray, "batch *image 3"]], tuple[Any, ...]]
    follow: Callable[[tuple[np.ndarray, ...]], Int[np.ndarray, " n"]]
    keep: float = 0.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """Steps, and which is the first for images by their places in the stream."""

    steps: Sequence[Step]
    first: Callable[[Int[np.ndarray, " n"]], Int[np.ndarray, " n"]] = np.zeros_like


@dataclasses.dataclass(frozen=True)
class Block:
    """Answers to consecutive images.

    Attributes:
        start: the first's place in the stream.
        steps: the number of the step that answered each, negative for an error.
        probabilities: of the classes; of no meaning for an error.
        errors: what was wrong, by place in the stream.
        passes: how many images each step of the plan has run since the block before.
    """

    start: int
    steps: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "n classes"]
    errors: dict[int, str]
    passes: Int[np.ndarray, " steps"]


class Engine:
    """Runs plans.

    Args:
        plan: what to do with an image.
        shape: of an image (size, size, 3), or of a clip.
        batch_sizes: numbers of images that programs are compiled for; a group is cut into them with
            the least waste (`batches`).
        max_wait: seconds that an image of a stream may wait for company at each step: a lone image
            runs after that, one of a busy stream next.

    Raises:
        UserError: for sizes that aren't positive.
    """

    def __init__(
        self,
        plan: Plan,
        shape: tuple[int, ...],
        batch_sizes: Sequence[int] = (1, 8, 64),
        max_wait: int | float = 0.02,
    ):
        if not batch_sizes or min(batch_sizes) < 1 or not max_wait >= 0:
            raise UserError(
                f"Batch sizes {tuple(batch_sizes)} and a wait of {max_wait} s came; positive sizes "
                "and no negative wait were wanted."
            )
        self.plan, self._sizes, self._max_wait, self._shape = (
            plan,
            tuple(sorted(set(batch_sizes))),
            max_wait,
            tuple(shape),
        )

    @property
    def ahead(self) -> int:
        """Images that are held at most: what has been taken and not given back."""
        most = self._sizes[-1]
        return max(
            min(64 * most, _MOST_BYTES // math.prod(self._shape)), (len(self.plan.steps) + 2) * most
        )

    def warm_up(self) -> None:
        """Compile every step at every batch size."""
        for step in self.plan.steps:
            for size in self._sizes:
                for array in step.run(np.zeros((size, *self._shape), np.uint8)):
                    np.asarray(array)

    def __call__(self, images: Iterable[Image | UserError]) -> Iterator[Answer]:
        """Answers in the order of the images; an error in an image's place comes out in its place,
        and so does what is wrong with an image of another type or shape than the plan's.

        The stream is read as answers are taken, `ahead` images before them at most.
        """
        names = [step.name for step in self.plan.steps]
        feed = StreamFeed(images, 2 * self._sizes[-1])
        try:
            for block in self._blocks(feed, self._max_wait):
                for i, (step, probabilities) in enumerate(
                    zip(block.steps.tolist(), block.probabilities), start=block.start
                ):
                    yield (
                        Answer(i, names[step], probabilities)
                        if step >= 0
                        else Answer(i, error=block.errors[i])
                    )
        finally:
            feed.close()

    def all(self, images: Any) -> Block:
        """Answers to images that lie in memory: nobody waits, every batch is as full as it can
        be.

        Raises:
            UserError: for images of another type or shape than the plan's.
        """
        check_batch(images, self._shape)
        blocks = list(self._blocks(ArrayFeed(images), np.inf))
        joined = (
            np.concatenate([getattr(block, name) for block in blocks])
            for name in ("steps", "probabilities")
        )
        return Block(0, *joined, {}, np.sum([block.passes for block in blocks], axis=0))

    def _blocks(self, feed: Feed, max_wait: int | float) -> Iterator[Block]:
        held = _Held(self.plan, self._sizes, self._shape, self.ahead, max_wait)
        while True:
            if held.room:
                held.take(feed.take(held.room))
            ended = feed.ended
            group = held.ready(ended or not held.room)
            if group is not None and len(held.running) < _RUNNING:
                held.start(*group)
            elif held.running:
                held.finish()
                if block := held.give():
                    yield block
            elif block := held.give():
                yield block
            elif ended:
                feed.check()
                return
            else:
                due = held.next_due()
                feed.wait(None if due == np.inf else max(due - time.monotonic(), 0.0))


class _Held:
    """Images on their way through a plan, in a ring of slots by their places in the stream."""

    def __init__(
        self,
        plan: Plan,
        sizes: tuple[int, ...],
        shape: tuple[int, ...],
        capacity: int,
        max_wait: int | float,
    ):
        self._plan, self._sizes, self._capacity = plan, sizes, capacity
        self._max_wait = max_wait
        self._images = np.zeros((capacity, *shape), np.uint8)
        self._ended_at = np.full(capacity, _WAITING)
        self._due = np.zeros(capacity)  # when it is late for the step that it waits for
        self._fresh = 0  # taken, and not yet handed to the device for the first time
        self._is_fresh = np.zeros(capacity, bool)
        self._turn: tuple[int, int] | None = None  # of late images: the step, and how many are left
        self._savings = _SAVED * sizes[-1]  # rows that late images may waste
        self._was_late = False  # the batch before was of late images
        self._known: np.ndarray | None = None
        self._queues: list[list[int]] = [[] for _ in plan.steps]  # slots
        self._errors: dict[int, str] = {}
        self._passes = np.zeros(len(plan.steps), int)
        self._taken = self._given = 0
        self.running: deque = deque()

    @property
    def room(self) -> int:
        """How many more images may be taken."""
        free = self._capacity - (self._taken - self._given)
        if self._max_wait == np.inf:
            return free
        return max(min(free, _AHEAD * self._sizes[-1] - self._fresh), 0)

    def take(self, images: UInt8[np.ndarray, "n *image 3"] | Sequence[Image | UserError]) -> None:
        """Put images into the queues of their first steps."""
        if not len(images):
            return
        places = np.arange(self._taken, self._taken + len(images))
        slots = places % self._capacity
        self._taken += len(images)
        self._ended_at[slots] = _WAITING
        fine = np.ones(len(images), bool)
        if isinstance(images, np.ndarray):
            self._images[slots] = images
        else:
            for i, (slot, image) in enumerate(zip(slots.tolist(), images)):
                if isinstance(image, UserError):
                    fine[i] = False
                    self._errors[self._taken - len(images) + i] = str(image)
                elif fault := self._fault(image):
                    fine[i] = False
                    self._errors[self._taken - len(images) + i] = fault
                else:
                    self._images[slot] = image
            self._ended_at[slots[~fine]] = _FAILED
        slots = slots[fine]
        self._fresh += len(slots)
        self._is_fresh[slots] = True
        self._due[slots] = time.monotonic()
        self._enqueue(slots, self._plan.first(places[fine]))

    def _fault(self, image: Any) -> str:
        """What is wrong with an image of a stream: an assignment would stretch or cut it."""
        shape = self._images.shape[1:]
        if getattr(image, "dtype", None) == np.uint8 and image.shape == shape:
            return ""
        try:
            check_batch(np.asarray(image)[None], shape)
        except UserError as error:
            return str(error)
        return f"Expected an array of uint8, got {type(image).__name__}."

    def _enqueue(self, slots: Int[np.ndarray, " n"], steps: Int[np.ndarray, " n"]) -> None:
        self._due[slots] += self._max_wait
        for step, queue in enumerate(self._queues):
            queue += slots[steps == step].tolist()

    def next_due(self) -> float:
        """When the first of the waiting images is late; infinite where none ever is."""
        if self._max_wait == np.inf:
            return np.inf
        return min((self._due[queue].min() for queue in self._queues if queue), default=np.inf)

    def ready(self, flush: bool) -> tuple[int, int] | None:
        """The step that goes next, and how many of its images are meant: that of late ones, else
        the last step with a full batch.

        Args:
            flush: nothing more can come: the earliest step that has any, when nothing runs that may
                fill it up.
        """
        if self._turn:
            return self._turn
        most = self._sizes[-1]
        full = [i for i, queue in enumerate(self._queues) if len(queue) >= most]
        step = self._latest()
        if step is not None and not (full and self._was_late):
            count = min(len(self._queues[step]), most)
            price = max(wasted(count, self._sizes), 0.0) if full else 0.0
            if price <= self._savings:
                self._savings -= price
                self._turn = step, count
                return self._turn
        if full:
            return full[-1], most
        if flush and not self.running:
            for i, queue in enumerate(self._queues):
                if queue:
                    return i, len(queue)
        return None

    def _latest(self) -> int | None:
        """The step of the image that has been late for longest; None while none is late."""
        if self._max_wait == np.inf:
            return None
        first = {i: self._due[queue].min() for i, queue in enumerate(self._queues) if queue}
        if not first or min(first.values()) > time.monotonic():
            return None
        return min(first, key=first.get)

    def start(self, which: int, count: int) -> None:
        """Hand a group to the device.

        Args:
            which: the step.
            count: of the images that wait for it, how many are cut into batches of which this is
                the first.
        """
        queue = self._queues[which]
        size = next_batch(count, self._sizes)
        slots = np.array(queue[:size])
        del queue[: len(slots)]
        self._fresh -= int(self._is_fresh[slots].sum())
        self._is_fresh[slots] = False
        self._was_late = self._turn is not None
        if len(slots) == self._sizes[-1]:
            self._savings = min(self._savings + _SHARE * size, _SAVED * size)
        left = count - len(slots)
        self._turn = (which, left) if self._was_late and left > 0 else None
        if len(slots) == size and (np.diff(slots) == 1).all():
            # Not copied: a slot is filled anew only after its answer has been given.
            batch = self._images[slots[0] : slots[-1] + 1]
        else:
            batch = np.empty((size, *self._images.shape[1:]), np.uint8)
            np.take(self._images, slots, axis=0, out=batch[: len(slots)], mode="clip")
            batch[len(slots) :] = 0
        self._passes[which] += len(slots)
        self.running.append((which, slots, self._plan.steps[which].run(batch)))

    def finish(self) -> None:
        """Wait for the group that was started first; answer its images or send them on."""
        which, slots, running = self.running.popleft()
        step = self._plan.steps[which]
        found = tuple(np.asarray(array)[: len(slots)] for array in running)
        if step.name:
            if self._known is None:
                self._known = np.zeros((self._capacity, found[0].shape[1]), np.float32)
            if step.keep:
                found = (step.keep * self._known[slots] + (1 - step.keep) * found[0], *found[1:])
            self._known[slots] = found[0]
        after = step.follow(found)
        self._ended_at[slots[after == DONE]] = which
        self._enqueue(slots[after != DONE], after[after != DONE])

    def give(self) -> Block | None:
        """The answers that nothing before them is missing of."""
        slots = np.arange(self._given, self._taken) % self._capacity
        missing = self._ended_at[slots] == _WAITING
        count = int(missing.argmax()) if missing.any() else len(slots)
        if not count:
            return None
        start, slots = self._given, slots[:count]
        self._given += count
        known = np.zeros((self._capacity, 0), np.float32) if self._known is None else self._known
        errors = {i: self._errors.pop(i) for i in sorted(self._errors) if i < self._given}
        passes, self._passes = self._passes, np.zeros_like(self._passes)
        return Block(start, self._ended_at[slots], known[slots], errors, passes)
