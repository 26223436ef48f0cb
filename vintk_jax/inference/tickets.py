"""An engine for many who ask at once: images come in under tickets, requests share batches, and
each answer leaves when it is ready. The `Engine` beside it keeps the order of one stream.

Which group goes next says `waiting`. Ahead of that, tickets take turns: each turn takes an equal
share of the room that there is, so that a ticket of many images keeps nobody from a place.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from vintk_jax.inference.engine import RUNNING, most_held
from vintk_jax.inference.plan import DONE, Plan, Step
from vintk_jax.inference.waiting import Slots, Waiting


class Answered(NamedTuple):
    """Images that were answered together.

    Attributes:
        tickets: of each image; indices: its place under its ticket.
        settings: what it was given with.
        steps: the number of the step that answered.
        probabilities: of the classes.
        waited: seconds it waited, from when it was asked; run: seconds in its passes.
    """

    tickets: list[Hashable]
    indices: Int[np.ndarray, " n"]
    settings: Int[np.ndarray, " n"]
    steps: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "n classes"]
    waited: Float[np.ndarray, " n"]
    run: Float[np.ndarray, " n"]


class Pass(NamedTuple):
    """A batch that has run: the number of its step, images, and seconds from when it was handed to
    the device to its end.
    """

    step: int
    images: int
    seconds: float


class _Asked:
    """What hasn't got a slot yet of a ticket."""

    def __init__(self, ticket: Hashable, images: np.ndarray, settings: np.ndarray):
        self.ticket = ticket
        self.images = images
        self.settings = settings
        self.entered = 0
        self.at = time.monotonic()

    @property
    def left(self) -> int:
        return len(self.images) - self.entered


class _Slots(Waiting):
    """Images by ticket. Free slots are taken from the lowest, so that a batch often lies in one
    piece.
    """

    def __init__(self, plan: Plan, sizes: tuple[int, ...], shape, capacity: int, max_wait):
        super().__init__(plan, sizes, shape, capacity, max_wait)
        self._free = np.arange(capacity)
        self._owner: list[Hashable] = [None] * capacity
        self._index = np.zeros(capacity, int)
        self._setting = np.zeros(capacity, int)
        self._asked_at = np.zeros(capacity)
        self._ran = np.zeros(capacity)
        self._dropped = np.zeros(capacity, bool)
        self._started_at: deque = deque()

    @property
    def room(self) -> int:
        return self.room_for_fresh(len(self._free))

    @property
    def busy(self) -> bool:
        return len(self._free) < self._capacity

    def take(self, asked: _Asked, count: int) -> None:
        """Give slots to the next images of a ticket."""
        slots, self._free = self._free[:count], self._free[count:]
        part = slice(asked.entered, asked.entered + count)
        asked.entered += count
        self.images[slots] = asked.images[part]
        for slot in slots.tolist():
            self._owner[slot] = asked.ticket
        self._index[slots] = np.arange(part.start, part.stop)
        self._setting[slots] = asked.settings[part]
        self._asked_at[slots] = asked.at
        self._ran[slots] = 0.0
        self.enter(slots, self._plan.first(asked.settings[part]))

    def drop(self, ticket: Hashable) -> None:
        """Free the slots of a ticket; those that run are freed when they are done."""
        theirs = {slot for slot, owner in enumerate(self._owner) if owner == ticket}
        waiting = self.withdraw(theirs)
        self._dropped[list(theirs - set(waiting))] = True
        self._release(np.array(waiting, int))

    def start(self, which: int, count: int) -> Slots:
        self._started_at.append(time.monotonic())
        return super().start(which, count)

    def follow(self, step: Step, slots: Slots, outputs: tuple[Any, ...]) -> Int[np.ndarray, " n"]:
        """Steps of these plans read the settings behind what the program gave."""
        return step.follow((*outputs, self._setting[slots]))

    def finish(self) -> tuple[Answered, Pass]:
        """Wait for the group that was started first; who is answered by it."""
        which, slots, after = self.wait_for_first()
        now = time.monotonic()
        seconds = now - self._started_at.popleft()
        self._ran[slots] += seconds
        wanted = ~self._dropped[slots]
        ended = slots[(after == DONE) & wanted]
        going_on = (after != DONE) & wanted
        ran = self._ran[ended]
        answered = Answered(
            [self._owner[slot] for slot in ended.tolist()],
            self._index[ended],
            self._setting[ended],
            np.full(len(ended), which),
            np.zeros((0, 0), np.float32) if self.known is None else self.known[ended],
            np.maximum(now - self._asked_at[ended] - ran, 0.0),
            ran,
        )
        self.enqueue(slots[going_on], after[going_on])
        self._release(slots[~going_on])
        return answered, Pass(which, len(slots), seconds)

    def _release(self, slots: Slots) -> None:
        for slot in slots.tolist():
            self._owner[slot] = None
        self._dropped[slots] = False
        self._free = np.sort(np.concatenate([self._free, slots]))


class Tickets:
    """Runs a plan for images that come under tickets.

    `submit` and `cancel` may be called from any thread; `run` does the work in the thread that
    calls it.

    Args:
        plan: its `first` reads the settings of images, and its steps' `follow` find the settings
            behind what their programs give.
        shape: of an image.
        batch_sizes: numbers of images that programs are compiled for.
        max_wait: seconds that an image may wait for company at each step.
        answer: called by `run` with each group of answers, and the pass that ended.
    """

    def __init__(
        self,
        plan: Plan,
        shape: tuple[int, ...],
        batch_sizes: Sequence[int],
        max_wait: int | float,
        answer: Callable[[Answered, Pass], None],
    ):
        sizes = tuple(sorted(set(batch_sizes)))
        capacity = most_held(sizes, shape, len(plan.steps))
        self._slots = _Slots(plan, sizes, tuple(shape), capacity, max_wait)
        self._answer = answer
        self._asked: deque[_Asked] = deque()
        self._cancelled: set[Hashable] = set()
        self._changed = threading.Condition()
        self._ends = False

    def submit(
        self,
        ticket: Hashable,
        images: UInt8[np.ndarray, "n *image 3"],
        settings: Int[np.ndarray, " n"],
    ) -> None:
        """Ask for answers.

        Args:
            ticket: comes back with the answers; no other that is still in work is equal to it.
            images: uint8 of the plan's shape.
            settings: of each image, as the plan reads them.
        """
        if len(images):
            with self._changed:
                self._asked.append(_Asked(ticket, images, settings))
                self._changed.notify()

    def cancel(self, ticket: Hashable) -> None:
        """Nobody waits for the answers of a ticket any more; none of them come after the next group
        that ends.
        """
        with self._changed:
            self._cancelled.add(ticket)
            self._changed.notify()

    def close(self) -> None:
        """Let `run` return when all that was asked is answered."""
        with self._changed:
            self._ends = True
            self._changed.notify()

    def run(self) -> None:
        """Answer until `close`."""
        slots = self._slots
        while True:
            with self._changed:
                self._admit()
                ends = self._ends
            group = slots.ready(ends)
            if group is not None and len(slots.running) < RUNNING:
                slots.start(*group)
            elif slots.running:
                self._answer(*slots.finish())
            elif ends and not slots.busy and not self._asked:
                return
            else:
                self._wait(slots.next_due())

    def _wait(self, due: float) -> None:
        """Until an image is late, or something has come."""
        with self._changed:
            if not (self._cancelled or self._ends or (self._asked and self._slots.room)):
                self._changed.wait(None if due == math.inf else max(due - time.monotonic(), 0.0))

    def _admit(self) -> None:
        """Give the room that there is to tickets in turn; forget those that were cancelled."""
        if self._cancelled:
            self._asked = deque(one for one in self._asked if one.ticket not in self._cancelled)
            for ticket in self._cancelled:
                self._slots.drop(ticket)
            self._cancelled.clear()
        while self._asked and (room := self._slots.room):
            share = max(room // len(self._asked), 1)
            one = self._asked.popleft()
            self._slots.take(one, min(share, one.left, room))
            if one.left:
                self._asked.append(one)
