"""Images of a stream that an engine holds: they leave in the order in which they came. Which group
goes next says `waiting`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vintk_jax.data.pixels import check_batch
from vintk_jax.errors import UserError
from vintk_jax.inference.plan import DONE, FAILED, WAITING, Block, Plan
from vintk_jax.inference.waiting import Slots, Waiting


class Queues(Waiting):
    """Images on their way through a plan, in a ring of slots by their places in the stream."""

    def __init__(
        self,
        plan: Plan,
        sizes: tuple[int, ...],
        shape: tuple[int, ...],
        capacity: int,
        max_wait: int | float,
    ):
        super().__init__(plan, sizes, shape, capacity, max_wait)
        self._ended_at = np.full(capacity, WAITING)
        self._errors: dict[int, str] = {}
        self._passes = np.zeros(len(plan.steps), int)
        self._taken = self._given = 0

    @property
    def room(self) -> int:
        """How many more images may be taken."""
        return self.room_for_fresh(self._capacity - (self._taken - self._given))

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
            self.images[slots] = images
        else:
            for i, (slot, image) in enumerate(zip(slots.tolist(), images)):
                if isinstance(image, UserError):
                    fine[i] = False
                    self._errors[self._taken - len(images) + i] = str(image)
                elif fault := self._fault(image):
                    fine[i] = False
                    self._errors[self._taken - len(images) + i] = fault
                else:
                    self.images[slot] = image
            self._ended_at[slots[~fine]] = FAILED
        self.enter(slots[fine], self._plan.first(places[fine]))

    def _fault(self, image: Any) -> str:
        """What is wrong with an image of a stream: an assignment would stretch or cut it."""
        shape = self.images.shape[1:]
        if getattr(image, "dtype", None) == np.uint8 and image.shape == shape:
            return ""
        try:
            check_batch(np.asarray(image)[None], shape)
        except UserError as error:
            return str(error)
        except Exception as error:  # what converting an object of any kind may raise
            return f"Expected an array of uint8, got {type(image).__name__} ({error})."
        return f"Expected an array of uint8, got {type(image).__name__}."

    def start(self, which: int, count: int) -> Slots:
        """Hand a group to the device (`Waiting.start`)."""
        slots = super().start(which, count)
        self._passes[which] += len(slots)
        return slots

    def finish(self) -> None:
        """Wait for the group that was started first; answer its images or send them on."""
        which, slots, after = self.wait_for_first()
        self._ended_at[slots[after == DONE]] = which
        self.enqueue(slots[after != DONE], after[after != DONE])

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
        known = np.zeros((self._capacity, 0), np.float32) if self.known is None else self.known
        errors = {i: self._errors.pop(i) for i in sorted(self._errors) if i < self._given}
        passes = self._passes
        self._passes = np.zeros_like(self._passes)
        return Block(start, self._ended_at[slots], known[slots], errors, passes)
