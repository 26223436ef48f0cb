"""Adaptive inference: images wait in a queue for each step until a batch is full or they have
waited long enough, and leave in the order in which they came.

What to do with an image is a plan (`inference.plan`). Which group goes next says
`inference.waiting`.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from vintk_jax.data.pixels import check_batch
from vintk_jax.errors import UserError
from vintk_jax.inference.batches import sizes_of_all
from vintk_jax.inference.feeds import ArrayFeed, Feed, Image, StreamFeed
from vintk_jax.inference.plan import DONE, Block, Plan, Step
from vintk_jax.inference.queues import Queues

__all__ = ["DONE", "Answer", "Block", "Engine", "Plan", "Step"]

RUNNING = 2  # groups handed to the device before the first's results are asked for
_MOST_BYTES = 2**28  # of images held


def most_held(sizes: tuple[int, ...], shape: tuple[int, ...], steps: int) -> int:
    """Images that an engine holds at most.

    Args:
        sizes: of batches, ascending.
        shape: of an image.
        steps: of the plan.
    """
    most = sizes[-1]
    return max(min(64 * most, _MOST_BYTES // math.prod(shape)), (steps + 2) * most)


def warm_up(plan: Plan, shape: tuple[int, ...], sizes: Sequence[int]) -> None:
    """Compile every step of a plan at every batch size, and run it once."""
    for step in plan.steps:
        for size in sizes:
            for array in step.run(*step.inputs(np.zeros((size, *shape), np.uint8))):
                np.asarray(array)


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
        whole = all(isinstance(size, int | np.integer) for size in batch_sizes)
        if not batch_sizes or not whole or min(batch_sizes) < 1 or not max_wait >= 0:
            raise UserError(
                "Expected whole positive sizes of batches and no negative wait, got "
                f"{tuple(batch_sizes)} and {max_wait} s."
            )
        self.plan = plan
        self._sizes = tuple(sorted(set(batch_sizes)))
        self._max_wait = max_wait
        self._shape = tuple(shape)

    @property
    def ahead(self) -> int:
        """Images that are held at most: what has been taken and not given back."""
        return most_held(self._sizes, self._shape, len(self.plan.steps))

    def warm_up(self, count: int = 0) -> None:
        """Compile every step at every batch size; or all that `all` runs of so many images, which
        is fewer where a plan has one step.
        """
        one_step = len(self.plan.steps) == 1
        sizes = sizes_of_all(count, self._sizes) if count and one_step else self._sizes
        warm_up(self.plan, self._shape, sizes)

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
        if not len(images):
            none = np.zeros(0, int)
            return Block(
                0, none, np.zeros((0, 0), np.float32), {}, np.zeros(len(self.plan.steps), int)
            )
        blocks = list(self._blocks(ArrayFeed(images), np.inf))
        joined = (
            np.concatenate([getattr(block, name) for block in blocks])
            for name in ("steps", "probabilities")
        )
        return Block(0, *joined, {}, np.sum([block.passes for block in blocks], axis=0))

    def _blocks(self, feed: Feed, max_wait: int | float) -> Iterator[Block]:
        queues = Queues(self.plan, self._sizes, self._shape, self.ahead, max_wait)
        while True:
            if queues.room:
                queues.take(feed.take(queues.room))
            ended = feed.ended
            group = queues.ready(ended or not queues.room)
            if group is not None and len(queues.running) < RUNNING:
                queues.start(*group)
            elif queues.running:
                queues.finish()
                if block := queues.give():
                    yield block
            elif block := queues.give():
                yield block
            elif ended:
                feed.check()
                return
            else:
                due = queues.next_due()
                feed.wait(None if due == np.inf else max(due - time.monotonic(), 0.0))
