"""One line that says how far long work has come: live in a terminal, now and then in a log file."""

import datetime
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import rich.progress
from rich.console import Console
from rich.table import Column
from rich.text import Text

from vintk_jax.files import write_json
from vintk_jax.report.console import make_console
from vintk_jax.report.describe import human_score

COMPILING = "compiling"
SECONDS_BETWEEN_LINES = 10.0  # in a log
WIDTH_FOR_UNIT = 100  # narrower terminals get the bare count
# Names a file that progress is written to, for the process that started this one.
SHARED = "VINTK_PROGRESS"
SECONDS_BETWEEN_SHARES = 0.5

_now = time.monotonic


class _Live(rich.progress.ProgressColumn):
    """What `Progress` says of itself, afresh at every refresh."""

    def __init__(self, progress: "Progress", with_unit: bool):
        super().__init__(table_column=Column(no_wrap=True))
        self._progress = progress
        self._with_unit = with_unit

    def render(self, task: rich.progress.Task) -> Text:
        return Text("  ".join(self._progress.facts(self._with_unit)))


class Progress:
    """Shows done of total, rate, time left, best score and the phase. It is a context manager.

    The rate counts the work of this run alone. It leaves out what a resumed run finds done, and the
    first update after compilation, whose time went to the compiler.

    Args:
        total: Units of work, those done earlier among them.
        done: Units done earlier.
        unit: What is counted, in the plural.
        console: Where to write; standard error when None.
    """

    def __init__(
        self, total: int, done: int = 0, unit: str = "candidates", console: Console | None = None
    ):
        self.total = total
        self.done = done
        self.unit = unit
        self.best = None
        self._console = console or make_console(stderr=True)
        self._phase = "starting"
        self._counted = 0
        self._seconds = 0.0
        self._compiled = True
        self._bar: rich.progress.Progress | None = None
        self._note = ""
        self._then = ""
        self._share = os.environ.get(SHARED, "")
        self._shared = 0.0

    def __enter__(self) -> "Progress":
        self._updated = self._printed = _now()
        if self._console.is_interactive:
            self._bar = rich.progress.Progress(
                rich.progress.TextColumn(
                    "{task.description}", markup=False, table_column=Column(no_wrap=True)
                ),
                rich.progress.BarColumn(bar_width=None),
                _Live(self, self._console.width >= WIDTH_FOR_UNIT),
                console=self._console,
                refresh_per_second=4,
                expand=True,
            )
            self._task = self._bar.add_task(self._phase, total=self.total, completed=self.done)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._phase = "done" if kind is None and self.done >= self.total else "stopped"
        self._show(force=True)
        if self._bar:
            self._bar.stop()

    def phase(self, name: str, then: str = "") -> None:
        """Say what goes on now; `then`: and from the next update on. After 'compiling' that update
        is left out of the rate.
        """
        if name == COMPILING:
            self._compiled = False
        self._then = then
        if name != self._phase:
            self._phase = name
            self._show(force=True)

    def update(self, done: int, best: int | float | None = None, note: str = "") -> None:
        """Say how many units are done in all, the best score where it is known, and what else is
        worth a word.
        """
        now = _now()
        if self._compiled:
            self._counted += done - self.done
            self._seconds += now - self._updated
        self._compiled = True
        self._updated = now
        self.done = done
        self.best = self.best if best is None else best
        self._note = note or self._note
        self._phase = self._then or self._phase
        self._then = ""
        self._show()

    @property
    def rate(self) -> float | None:
        """Units a second in this run, once there is something to tell it from."""
        return self._counted / self._seconds if self._counted > 0 and self._seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Time to the end at this rate."""
        return (
            max(0.0, (self.total - self.done) / self.rate - (_now() - self._updated))
            if self.rate
            else None
        )

    def facts(self, with_unit: bool = True) -> list[str]:
        """Count, rate, time left and best score in words, those that are known."""
        said = [f"{self.done}/{self.total}" + (f" {self.unit}" if with_unit else "")]
        if rate := self.rate:
            said.append(f"{rate:.1f}/s" if rate >= 1 else f"{rate:.2g}/s")
        if self.done < self.total and (left := self.seconds_left) is not None:
            said.append(f"{datetime.timedelta(seconds=round(left))} left")
        if self.best is not None:
            said.append(f"best {human_score(self.best)}")
        if self._note:
            said.append(self._note)
        return said

    def facts_to_share(self) -> dict[str, Any]:
        """The same for a program."""
        return {
            "phase": self._phase,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "seconds_left": self.seconds_left,
        }

    def _show(self, force: bool = False) -> None:
        if self._share and (force or _now() - self._shared >= SECONDS_BETWEEN_SHARES):
            self._shared = _now()
            write_json(Path(self._share), self.facts_to_share())
        if self._bar:
            self._bar.update(
                self._task, completed=self.done, description=self._phase, refresh=force
            )
        elif force or _now() - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = _now()
            self._console.print(
                f"{self._phase}: {', '.join(self.facts())}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
