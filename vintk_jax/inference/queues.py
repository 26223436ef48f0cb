"""Images that an engine holds: which of them goes next, with whom.

An image of a stream is late at its n-th step when n x `max_wait` has passed since it was taken.

1. A step with late images goes next, also ahead of full batches of other steps.
2. Its batch is often not full. Such batches may waste `_SHARE` of the rows of all full batches, so
   that throughput falls by no more.
3. A late image that `_PATIENCE` batches have gone ahead of goes next in any case.
4. After a turn of late images (a full batch of rows at most) comes a full batch of another step.
5. `_AHEAD` full batches at most are taken ahead of what runs, for each step that is a first one.

So an image leaves within `max_wait` and some eight batches a step, and most much sooner, however
busy the stream is and however rare its steps are.

What is done for each image in Python is kept to list operations; the rest works on whole groups.
"""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from vintk_jax.data.pixels import check_batch
from vintk_jax.errors import UserError
from vintk_jax.inference.batches import next_batch, wasted
from vintk_jax.inference.plan import DONE, FAILED, WAITING, Block, Plan

_AHEAD = 2  # full batches of a stream taken and not yet handed to the device
# Of a full batch's rows, what late images may waste; saved for so many full batches' rows at most.
_SHARE = 0.04
_SAVED = 2.0
_PATIENCE = 6  # batches that go by a late image before it goes whatever it wastes


class Queues:
    """Images on their way through a plan, in a ring of slots by their places in the stream."""

    def __init__(
        self,
        plan: Plan,
        sizes: tuple[int, ...],
        shape: tuple[int, ...],
        capacity: int,
        max_wait: int | float,
    ):
        self._plan = plan
        self._sizes = sizes
        self._capacity = capacity
        self._max_wait = max_wait
        self._images = np.zeros((capacity, *shape), np.uint8)
        self._ended_at = np.full(capacity, WAITING)
        self._due = np.zeros(capacity)  # when it is late for the step that it waits for
        self._starts = 0  # batches handed to the device
        self._queued_at = np.zeros(capacity, int)  # how many there were when it was queued
        self._firsts: set[int] = set()  # steps that were the first of some image
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
        ahead = _AHEAD * self._sizes[-1] * max(len(self._firsts), 1)
        return max(min(free, ahead - self._fresh), 0)

    def take(self, images: UInt8[np.ndarray, "n *image 3"] | Sequence[Any]) -> None:
        """Put images into the queues of their first steps; what is no image is an error in its
        place.
        """
        if not len(images):
            return
        places = np.arange(self._taken, self._taken + len(images))
        slots = places % self._capacity
        self._taken += len(images)
        self._ended_at[slots] = WAITING
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
            self._ended_at[slots[~fine]] = FAILED
        slots = slots[fine]
        self._fresh += len(slots)
        self._is_fresh[slots] = True
        self._due[slots] = time.monotonic()
        first = self._plan.first(places[fine])
        self._firsts.update(np.unique(first).tolist())
        self._enqueue(slots, first)

    def _fault(self, image: Any) -> str:
        """What is wrong with an image of a stream: an assignment would stretch or cut it."""
        shape = self._images.shape[1:]
        if getattr(image, "dtype", None) == np.uint8 and image.shape == shape:
            return ""
        try:
            check_batch(np.asarray(image)[None], shape)
        except UserError as error:
            return str(error)
        except Exception as error:  # what converting an object of any kind may raise
            return f"Expected an array of uint8, got {type(image).__name__} ({error})."
        return f"Expected an array of uint8, got {type(image).__name__}."

    def _enqueue(self, slots: Int[np.ndarray, " n"], steps: Int[np.ndarray, " n"]) -> None:
        self._due[slots] += self._max_wait
        self._queued_at[slots] = self._starts
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
            gone_by = self._starts - int(self._queued_at[self._queues[step]].min())
            free = not full or gone_by >= _PATIENCE
            price = 0.0 if free else max(wasted(count, self._sizes), 0.0)
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
        self._starts += 1
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
        outputs = tuple(np.asarray(array)[: len(slots)] for array in running)
        if step.name:
            if self._known is None:
                self._known = np.zeros((self._capacity, outputs[0].shape[1]), np.float32)
            if step.earlier_weight:
                earlier = step.earlier_weight * self._known[slots]
                outputs = (earlier + (1 - step.earlier_weight) * outputs[0], *outputs[1:])
            self._known[slots] = outputs[0]
        after = step.follow(outputs)
        self._ended_at[slots[after == DONE]] = which
        self._enqueue(slots[after != DONE], after[after != DONE])

    def give(self) -> Block | None:
        """The answers that nothing before them is missing of."""
        slots = np.arange(self._given, self._taken) % self._capacity
        missing = self._ended_at[slots] == WAITING
        count = int(missing.argmax()) if missing.any() else len(slots)
        if not count:
            return None
        start = self._given
        slots = slots[:count]
        self._given += count
        known = np.zeros((self._capacity, 0), np.float32) if self._known is None else self._known
        errors = {i: self._errors.pop(i) for i in sorted(self._errors) if i < self._given}
        passes = self._passes
        self._passes = np.zeros_like(self._passes)
        return Block(start, self._ended_at[slots], known[slots], errors, passes)
