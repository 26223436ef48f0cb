"""What the stages of a plan take: seconds and bytes, from counts of images and a measured speed.

The numbers of passes are counted off the commands; the constants were measured on 2 cores, and
scale with the time that the training's step takes to compile.
"""

import dataclasses
from collections.abc import Mapping

from vintk_jax.adapting.machine import StepSpeed

COMPARED = 2000  # images that methods are compared on
ROUNDS = 3  # timed runs of each
SHOWN_TRAINED = 2000  # images trained on, whose labels `assign` shows beside the others'
TESTS = 10  # times that a training measures itself
_METHODS = 14  # that the comparison runs, about
_OF_LONGEST = 0.4  # what a method takes of a pass at every length, on average
# The assigner is trained on all and on each of five parts, for two stages and 20 epochs of 128.
_ASSIGNER_STEPS = 6 * 2 * 20 / 128
_ASSIGNER_STEP_S = 0.003
# Seconds of a stage whatever its size, where a training's step compiles in `_COMPILE_S`: starting
# Python, compiling, writing.
FIXED_S = {"search": 20, "train": 15, "assign": 25, "infer": 35, "export": 12, "page": 8}
_COMPILE_S = 8.0
_LEAST_FACTOR = 0.5  # where programs are kept already
_LOGS = 30_000_000  # bytes of logs and pages
_NUMBER = 4  # bytes
_FEATURES = 500  # numbers that are kept of an image beside its probabilities, about


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long stages take.

    Attributes:
        counts: images to train on ("train"), to learn lengths from ("labels"), to measure on
            ("test").
        speed: of a training's step.
        batch: images of a step.
    """

    counts: Mapping[str, int]
    speed: StepSpeed
    batch: int

    @property
    def pass_s(self) -> float:
        """Seconds of an image's pass at every length: a third of what a step takes for it."""
        return self.speed.step_s / (3 * self.batch)

    @property
    def steps_an_epoch(self) -> int:
        """As `train` counts them."""
        return max(self.counts["train"] // self.batch, 1)

    @property
    def epoch_s(self) -> float:
        """Seconds of a pass over the training images."""
        return self.steps_an_epoch * self.speed.step_s

    @property
    def tests_s(self) -> float:
        """Seconds of a training's own measurements."""
        return TESTS * self.counts["test"] * self.pass_s

    def fixed_s(self, stage: str) -> float:
        """What a stage takes whatever its size."""
        return max(self.speed.compile_s / _COMPILE_S, _LEAST_FACTOR) * FIXED_S[stage]

    def seconds(self, stage: str) -> float:
        """Seconds of a stage behind the training."""
        work = {"assign": self._assign_s, "infer": self._infer_s}.get(stage, 0.0)
        return self.fixed_s(stage) + work

    @property
    def _assign_s(self) -> float:
        """Passes over the held-out images and some that were trained on; the assigner's steps."""
        labels = self.counts["labels"]
        images = labels + min(self.counts["train"], SHOWN_TRAINED)
        return images * self.pass_s + _ASSIGNER_STEPS * labels * _ASSIGNER_STEP_S

    @property
    def _infer_s(self) -> float:
        """All test images, and all again at every length; some of them by every method."""
        test = self.counts["test"]
        compared = _METHODS * ROUNDS * _OF_LONGEST * min(test, COMPARED)
        return (2 * test + compared) * self.pass_s


def disk_bytes(counts: Mapping[str, int], params: int, lengths: int, classes: int) -> int:
    """Three checkpoints with an optimiser of twice the weights, four copies of the weights in the
    export, what the model answered, logs and pages.
    """
    answered = counts["labels"] + min(counts["train"], SHOWN_TRAINED) + counts["test"]
    of_image = lengths * (classes + _FEATURES)
    return _LOGS + _NUMBER * ((3 * 3 + 4) * params + answered * of_image)
