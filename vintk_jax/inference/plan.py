"""What is done with an image: steps, and which follows which.

A step is a compiled program (an assigner, or the model at one length) with batches of few fixed
sizes; a plan says where an image goes first and, after each step, whether it is answered or goes
on. Fixed lengths, cascades and assigners differ in their plan alone, so that they can be compared.
How sure an answer is says `confidence`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

DONE = -1  # in place of the number of the next step
FAILED, WAITING = -2, -1  # in place of the number of the step that answered


@dataclasses.dataclass(frozen=True)
class Step:
    """A program, and what follows it.

    Attributes:
        name: of the length, for the answer; empty for a step that can't answer.
        run: images (batch, *image, 3), and what they carry where the step takes it, -> a tuple of
            arrays whose first axis is the batch; the first are probabilities, where it can answer.
        follow: those arrays, rows of real images only and without what is carried, -> the number
            of the next step of each image, or `DONE`.
        earlier_weight: weight that the probabilities of an earlier step have in this one's.
        carries: whether the last array goes along with the images, for a later step to take.
        takes: shape, for one image, of what an earlier step let it carry; None for a step that
            takes the image alone.
    """

    name: str
    run: Callable[..., tuple[Any, ...]]
    follow: Callable[[tuple[np.ndarray, ...]], Int[np.ndarray, " n"]]
    earlier_weight: float = 0.0
    carries: bool = False
    takes: tuple[int, ...] | None = None

    def inputs(self, images: UInt8[np.ndarray, "batch *image 3"]) -> tuple[np.ndarray, ...]:
        """What `run` is called with to try it: images that carry zeros where it takes any."""
        if self.takes is None:
            return (images,)
        return images, np.zeros((len(images), *self.takes), np.float32)


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


def confidence(probabilities: Float[np.ndarray, "*n classes"]) -> Float[np.ndarray, "*n"]:
    """How sure an answer is: its highest probability. A cascade compares it with a threshold (DVT,
    arXiv 2105.15075).
    """
    return probabilities.max(axis=-1)
