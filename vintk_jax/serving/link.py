"""The worker, as the front sees it: tickets go out, answers come in; a worker that dies is started
again.
"""

import asyncio
import os
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from vintk_jax.serving.asks import Ask
from vintk_jax.serving.child import Child
from vintk_jax.serving.metrics import Metrics
from vintk_jax.serving.opening import TOKEN
from vintk_jax.serving.places import Places, Ticket
from vintk_jax.serving.refusals import Refused, not_ready
from vintk_jax.serving.worker_rows import ROW

_LONGEST_PAUSE = 30.0  # seconds between two starts of a worker that keeps dying
_RATE_SHARE = 0.1  # of the latest second in the mean rate


class Link:
    """Starts the worker, and keeps it running.

    Args:
        settings: the first frame that a worker gets.
        places: for images in work.
        patience: seconds without any answer, while some are waited for, after which a worker counts
            as stuck.
        metrics: of the service.
        say: called with what happens to the worker.

    Attributes:
        about: what the model is; None before it is known.
        ready: whether the worker answers.
        drift: what it says of the comparison with calibration.
        failure: why it can't serve; empty while nothing is known against it.
        failed: set when the service can't go on.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        places: Places,
        patience: float,
        metrics: Metrics,
        say: Callable[[str], None],
    ):
        self._settings = settings
        self._places = places
        self._patience = patience
        self._metrics = metrics
        self._say = say
        self._child: Child | None = None
        self._tickets: dict[int, Ticket] = {}
        self._numbers = 0
        self._ends = False
        self._heard = time.monotonic()
        self._counted = [time.monotonic(), 0]
        self.about: dict[str, Any] | None = None
        self.known = asyncio.Event()  # what the model is
        self.ready = False
        self.drift: dict[str, Any] | None = None
        self.failure = ""
        self.failed = asyncio.Event()

    async def run(self) -> None:
        """Start workers, one after the other, until `stop`."""
        pause = 0.0
        while not self._ends:
            begun = time.monotonic()
            was_ready, code = await self._one_worker()
            self._lose(not_ready("The worker has ended. It is started again; ask again."))
            if self._ends or self.failed.is_set():
                return
            if not was_ready and self.about is None:
                self.fail(self.failure or f"The worker ended as it began (exit code {code}).")
                return
            long_lived = time.monotonic() - begun > 2 * _LONGEST_PAUSE
            pause = 0.0 if long_lived else min(2 * pause + 0.5, _LONGEST_PAUSE)
            why = f" {self.failure}" if self.failure else ""
            self._say(f"The worker ended (exit code {code}); it is started again.{why}")
            await asyncio.sleep(pause if pause > 0.5 else 0.0)

    def fail(self, reason: str) -> None:
        """The service can't go on."""
        self.failure = reason
        self.failed.set()

    async def _one_worker(self) -> tuple[bool, int]:
        """From the start of a worker to its end: whether it ever was ready, and its exit code."""
        self._metrics.worker_starts.inc()
        was_ready = False
        try:
            self._child = await Child.start("vintk_jax.serving.worker", _environment())
        except OSError as error:  # no memory, too many processes or files
            self.failure = f"It can't be started: {error}."
            return False, error.errno or 1
        if not self._ends:
            self._child.send(self._settings)
            try:
                was_ready = await self._listen(self._child)
            except Exception:  # a fault of ours: the next worker starts with a clean table
                traceback.print_exc()
                was_ready = self.ready
        return was_ready, await self._child.end(2.0)

    async def _listen(self, child: Child) -> bool:
        """Take its frames until it ends; whether it ever was ready."""
        was_ready = False
        self.failure = ""
        while True:
            try:
                frame, body = await child.receive()
            except (EOFError, ValueError):
                return was_ready
            self._heard = time.monotonic()
            kind = frame["is"]
            if kind == "answers":
                self._take(frame, body)
            elif kind == "refused":
                ticket = self._tickets.get(frame["ticket"])
                if ticket is not None:
                    self._forget(ticket)
                    ticket.fail(Refused(400, frame["reason"]))
            elif kind == "failed":
                self.failure = frame["reason"]
            else:
                if self.about is not None and frame["about"]["shape"] != self.about["shape"]:
                    self.fail(
                        "The model in the folder now takes images of another size than the one "
                        "that the service began with. Start the service again."
                    )
                    return False
                self.about = frame["about"]
                self.known.set()
                was_ready = kind == "ready"
                self._set_ready(was_ready)

    def _set_ready(self, ready: bool) -> None:
        self.ready = ready
        self._metrics.ready.set(ready)

    def _take(self, frame: dict[str, Any], body: bytes) -> None:
        name, images, seconds = frame["pass"]
        self._metrics.passes.labels(name or "assigner").observe(seconds)
        self._metrics.pass_images.labels(name or "assigner").observe(images)
        count = frame["count"]
        if not count:
            return
        self.drift = frame["drift"]
        self._metrics.take_drift(self.drift)
        rows = np.frombuffer(body, ROW, count)
        probabilities = np.frombuffer(body, np.float32, offset=rows.nbytes).reshape(count, -1)
        self._count(rows)
        # Sorted, the rows of a ticket lie together.
        order = np.argsort(rows["ticket"], kind="stable")
        numbers, starts = np.unique(rows["ticket"][order], return_index=True)
        for number, some in zip(numbers.tolist(), np.split(order, starts[1:])):
            ticket = self._tickets.get(number)
            if ticket is None:
                continue
            ticket.take(rows[some], probabilities[some])
            self._places.give(len(some))
            if not ticket.left:
                del self._tickets[number]

    def _count(self, rows: np.ndarray) -> None:
        for row, name in enumerate(one["name"] for one in self.about["lengths"]):
            some = int(np.count_nonzero(rows["length"] == row))
            if some:
                self._metrics.images.labels(name).inc(some)
        self._metrics.waited.observe(rows["waited"] / 1000)
        self._metrics.run.observe(rows["run"] / 1000)
        now = time.monotonic()
        begun, count = self._counted
        self._counted[1] = count + len(rows)
        if now - begun > 1:
            rate = self._counted[1] / (now - begun)
            old = self._places.rate
            share = _RATE_SHARE if old else 1.0
            self._places.rate = old + share * (rate - old)
            self._counted = [now, 0]

    def ask(self, pixels: bytes, asks: list[Ask]) -> Ticket:
        """Ask for answers; their places have been taken.

        Args:
            pixels: of the images, one behind the other.
            asks: one for each image.

        Raises:
            Refused: while there is no worker that answers. The places are given back.
        """
        count = len(asks)
        if not self.ready or self._ends:
            self._places.give(count)
            raise not_ready("The model is not ready yet. Ask again.")
        self._numbers += 1
        ticket = Ticket(self._numbers, count, len(self.about["classes"]))
        if not self._tickets:
            self._heard = time.monotonic()
            self._counted = [self._heard, 0]  # the rate is of busy times
        self._tickets[ticket.number] = ticket
        words = [asks[0].words] if len(set(asks)) == 1 else [ask.words for ask in asks]
        self._child.send({"do": "ask", "ticket": ticket.number, "asks": words}, pixels)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Nobody waits for a ticket any more."""
        if ticket.number in self._tickets:
            self._forget(ticket)
            self._child.send({"do": "cancel", "ticket": ticket.number})

    def _forget(self, ticket: Ticket) -> None:
        del self._tickets[ticket.number]
        self._places.give(ticket.left)

    def _lose(self, refused: Refused) -> None:
        """The worker is gone, and all that it had."""
        self._set_ready(False)
        for ticket in list(self._tickets.values()):
            self._forget(ticket)
            ticket.fail(refused)

    async def watch(self) -> None:
        """End a worker that is stuck: nothing comes while something is waited for."""
        while True:
            await asyncio.sleep(1)
            quiet = time.monotonic() - self._heard
            if self.ready and self._tickets and quiet > self._patience:
                self._say(f"The worker has said nothing for {quiet:.0f} s; it is ended.")
                self._child.process.kill()
                self._heard = time.monotonic()

    async def stop(self, seconds: float) -> None:
        """Let the worker finish what it has, and end it."""
        self._ends = True
        if self._child is not None:
            if self.ready and seconds > 0:
                self._child.send({"do": "end"})
                await self._child.end_by_itself(seconds)
            await self._child.end()


def _environment() -> dict[str, str]:
    """This process's, without the token, which a worker has no use for. glibc's large pages are as
    jax_settings.restart_with_large_pages sets them for commands that run models.
    """
    own = {name: value for name, value in os.environ.items() if name != TOKEN}
    return {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", **own}
