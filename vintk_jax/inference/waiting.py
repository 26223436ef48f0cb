"""Images that wait for the steps of a plan: which group goes next, with whom.

An image is late at its n-th step when n x `max_wait` has passed since it came in.

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
from typing import Any

import numpy as np
from jaxtyping import Int

from vintk_jax.inference.batches import next_batch, wasted
from vintk_jax.inference.plan import DONE, Plan, Step

_AHEAD = 2  # full batches of a stream taken and not yet handed to the device
# Of a full batch's rows, what late images may waste; saved for so many full batches' rows at most.
_SHARE = 0.04
_SAVED = 2.0
_PATIENCE = 6  # batches that go by a late image before it goes whatever it wastes

Slots = Int[np.ndarray, " n"]


class Waiting:
    """Images in slots, on their way through a plan.

    Who owns a slot, and what becomes of an image that is answered, is the business of what is built
    on this: `queues.Queues` gives in the order of a stream, `tickets.Tickets` by request.

    Args:
        plan: what to do with an image.
        sizes: numbers of images that programs are compiled for, ascending.
        shape: of an image.
        capacity: number of slots.
        max_wait: seconds that an image may wait for company at each step.

    Attributes:
        images: by slot; filled by the owner ahead of `enter`.
        known: the latest answer by slot; None before the first.
        carried: what an earlier step let an image carry, by slot; None before the first.
        running: groups that were handed to the device: step, slots, what it gave.
    """

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
        self.images = np.zeros((capacity, *shape), np.uint8)
        self.known: np.ndarray | None = None
        self.carried: np.ndarray | None = None
        self._has_answer = np.zeros(capacity, bool)
        self._due = np.zeros(capacity)  # when it is late for the step that it waits for
        self._starts = 0  # batches handed to the device
        self._queued_at = np.zeros(capacity, int)  # how many there were when it was queued
        self._firsts: set[int] = set()  # steps that were the first of some image
        self._fresh = 0  # taken, and not yet handed to the device for the first time
        self._is_fresh = np.zeros(capacity, bool)
        self._turn: tuple[int, int] | None = None  # of late images: the step, and how many are left
        self._savings = _SAVED * sizes[-1]  # rows that late images may waste
        self._was_late = False  # the batch before was of late images
        self._queues: list[list[int]] = [[] for _ in plan.steps]  # slots
        self.running: deque = deque()

    def room_for_fresh(self, free: int) -> int:
        """How many more images may be taken.

        Args:
            free: slots that nobody has.
        """
        if self._max_wait == np.inf:
            return free
        ahead = _AHEAD * self._sizes[-1] * max(len(self._firsts), 1)
        return max(min(free, ahead - self._fresh), 0)

    def enter(self, slots: Slots, first: Int[np.ndarray, " n"]) -> None:
        """Queue images that have just come.

        Args:
            first: the number of the first step of each.
        """
        self._fresh += len(slots)
        self._is_fresh[slots] = True
        self._has_answer[slots] = False
        self._due[slots] = time.monotonic()
        self._firsts.update(np.unique(first).tolist())
        self.enqueue(slots, first)

    def enqueue(self, slots: Slots, steps: Int[np.ndarray, " n"]) -> None:
        """Let images wait for their next steps."""
        self._due[slots] += self._max_wait
        self._queued_at[slots] = self._starts
        for step, queue in enumerate(self._queues):
            queue += slots[steps == step].tolist()

    def withdraw(self, slots: set[int]) -> list[int]:
        """Take images out that nobody waits for any more; which of them were waiting here. The
        others run.
        """
        out = []
        for which, queue in enumerate(self._queues):
            gone = [slot for slot in queue if slot in slots]
            if gone:
                out += gone
                self._queues[which] = [slot for slot in queue if slot not in slots]
        gone = np.array(out, int)
        self._fresh -= int(self._is_fresh[gone].sum())
        self._is_fresh[gone] = False
        if self._turn:
            which, left = self._turn
            left = min(left, len(self._queues[which]))
            self._turn = (which, left) if left else None
        return out

    @property
    def waits(self) -> bool:
        """Whether any image waits for a step."""
        return any(self._queues)

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

    def start(self, which: int, count: int) -> Slots:
        """Hand a group to the device; its slots.

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
        step = self._plan.steps[which]
        inputs = [_batch(self.images, slots, size)]
        if step.takes is not None:
            inputs.append(_batch(self.carried, slots, size))
        self.running.append((which, slots, step.run(*inputs)))
        return slots

    def wait_for_first(self) -> tuple[int, Slots, Int[np.ndarray, " n"]]:
        """Wait for the group that was started first; its step, its slots, and the number of the
        next step of each, or `DONE`. What it answered is in `known`.
        """
        which, slots, running = self.running.popleft()
        step = self._plan.steps[which]
        outputs = tuple(np.asarray(array)[: len(slots)] for array in running)
        carried = None
        if step.carries:
            *outputs, carried = outputs
            outputs = tuple(outputs)
        if step.name:
            outputs = (self._blended(step, slots, outputs[0]), *outputs[1:])
            self.known[slots] = outputs[0]
            self._has_answer[slots] = True
        after = self.follow(step, slots, outputs)
        if carried is not None:
            self._keep(carried, slots, after != DONE)
        return which, slots, after

    def _keep(self, carried: np.ndarray, slots: Slots, going_on: np.ndarray) -> None:
        """What images that go on carry."""
        if self.carried is None:
            self.carried = np.zeros((self._capacity, *carried.shape[1:]), carried.dtype)
        self.carried[slots[going_on]] = carried[going_on]

    def follow(self, step: Step, slots: Slots, outputs: tuple[Any, ...]) -> Int[np.ndarray, " n"]:
        """The number of the next step of each image, or `DONE`."""
        return step.follow(outputs)

    def _blended(self, step: Step, slots: Slots, answers: np.ndarray) -> np.ndarray:
        """Probabilities, with what an earlier step said where there was one."""
        if self.known is None:
            self.known = np.zeros((self._capacity, answers.shape[1]), np.float32)
        if not step.earlier_weight:
            return answers
        earlier = step.earlier_weight * self.known[slots]
        blended = earlier + (1 - step.earlier_weight) * answers
        return np.where(self._has_answer[slots, None], blended, answers)


def _batch(by_slot: np.ndarray, slots: Slots, size: int) -> np.ndarray:
    """The rows of some slots, and zeros up to the size of a batch."""
    if len(slots) == size and (np.diff(slots) == 1).all():
        # Not copied: a slot is filled anew only after its answer has been given.
        return by_slot[slots[0] : slots[-1] + 1]
    batch = np.empty((size, *by_slot.shape[1:]), by_slot.dtype)
    np.take(by_slot, slots, axis=0, out=batch[: len(slots)], mode="clip")
    batch[len(slots) :] = 0
    return batch
