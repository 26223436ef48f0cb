"""How far a run of several stages has come: each stage, and the time left of the whole."""

import datetime
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import rich.progress
from rich.console import Console

from vintk_jax.report.progress import SECONDS_BETWEEN_LINES

COUNTED_WHOLLY = ("search", "train")  # stages whose count is all of their work

_now = time.monotonic


class StageProgress:
    """A bar for each stage in a terminal; in a log a line now and then. It is a context manager.

    What a stage takes is taken from the plan until the stage says itself what is left of it.

    Args:
        planned: seconds of each stage, in order.
        finished: those that an earlier run has finished.
        console: where to write.
    """

    def __init__(self, planned: Mapping[str, float], finished: Sequence[str], console: Console):
        self._planned = dict(planned)
        self._finished = list(finished)
        self._console = console
        self._stage = ""
        self._began = self._printed = _now()
        self._told: dict[str, Any] = {}
        self._told_at = self._began
        self._bars: rich.progress.Progress | None = None
        self._tasks: dict[str, rich.progress.TaskID] = {}

    def __enter__(self) -> "StageProgress":
        if self._console.is_interactive:
            self._bars = rich.progress.Progress(
                rich.progress.TextColumn("{task.description}", markup=False),
                rich.progress.BarColumn(),
                rich.progress.TextColumn("{task.fields[note]}", markup=False),
                console=self._console,
                refresh_per_second=4,
            )
            for name in self._planned:
                done = 1.0 if name in self._finished else 0.0
                self._tasks[name] = self._bars.add_task(name, total=1.0, completed=done, note="")
            self._tasks[""] = self._bars.add_task("the whole", total=1.0, note="")
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars:
            self._show()
            self._bars.stop()

    def begin(self, stage: str) -> None:
        """A stage begins."""
        self._stage = stage
        self._began = self._told_at = _now()
        self._told = {}
        self._print()

    def tell(self, told: Mapping[str, Any] | None) -> None:
        """What the stage says of itself (`Progress.facts_to_share`), or None for nothing new."""
        if told is not None and dict(told) != self._told:
            self._told = dict(told)
            self._told_at = _now()
        if self._bars:
            self._show()
        elif _now() - self._printed >= SECONDS_BETWEEN_LINES:
            self._print()

    def end(self) -> None:
        """The stage has ended."""
        self._finished.append(self._stage)
        self._stage = ""
        if self._bars:
            self._show()

    @property
    def seconds_left(self) -> float:
        """Of the whole."""
        waiting = [
            seconds
            for name, seconds in self._planned.items()
            if name not in self._finished and name != self._stage
        ]
        return sum(waiting) + self._left_of_stage()

    def _left_of_stage(self) -> float:
        if not self._stage:
            return 0.0
        planned = max(self._planned[self._stage] - (_now() - self._began), 0.0)
        left = self._told.get("seconds_left")
        if left is None or self._told["done"] >= self._told["total"]:
            return planned
        left = max(left - (_now() - self._told_at), 0.0)
        # What others count is one of several things that they do.
        return left if self._stage in COUNTED_WHOLLY else max(left, planned)

    def _share(self) -> float:
        """Of the stage, that is done."""
        taken = _now() - self._began
        left = self._left_of_stage()
        return taken / (taken + left) if taken + left > 0 else 1.0

    def _note(self) -> str:
        told = self._told
        if not told:
            return "starting"
        return f"{told['phase']}: {told['done']:,}/{told['total']:,} {told['unit']}"

    def _left_in_words(self) -> str:
        return f"{datetime.timedelta(seconds=round(self.seconds_left))} left of the whole"

    def _show(self) -> None:
        whole = sum(self._planned.values())
        for name in self._planned:
            if name in self._finished:
                self._bars.update(self._tasks[name], completed=1.0, note="done")
            elif name == self._stage:
                self._bars.update(self._tasks[name], completed=self._share(), note=self._note())
        share = max(1 - self.seconds_left / whole, 0.0) if whole else 1.0
        self._bars.update(self._tasks[""], completed=share, note=self._left_in_words())

    def _print(self) -> None:
        self._printed = _now()
        if self._bars or not self._stage:
            return
        number = list(self._planned).index(self._stage) + 1
        self._console.print(
            f"{self._stage} ({number} of {len(self._planned)}): {self._note()}, "
            f"{self._left_in_words()}",
            highlight=False,
            soft_wrap=True,
        )
