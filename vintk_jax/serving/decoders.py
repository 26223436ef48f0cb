"""The decoders, as the front sees them: bodies go to the next that is free, one that takes too long
or dies is replaced.
"""

import asyncio
import contextlib
import dataclasses
import os
from collections.abc import Callable, Coroutine
from typing import Any

from vintk_jax.serving.child import Child
from vintk_jax.serving.refusals import Refused

# A decoder has one core, and the address space of threads that it doesn't start is no loss.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_TOLD = ("PATH", "HOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "TMPDIR")
_START_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class Decoded:
    """The images of a body.

    Attributes:
        count: of those that could be read; pixels: theirs, as bytes.
        errors: what was wrong with others, by place.
        words, request: see `bodies.Images`.
    """

    count: int
    pixels: bytes
    errors: dict[int, str]
    words: dict[str, list[Any]]
    request: dict[str, Any]


class Decoders:
    """Some processes.

    Args:
        count: of them.
        settings: the first frame that each gets (`decoder.main`).
        seconds: that a body may take.
        say: called with what happens to them.
    """

    def __init__(
        self, count: int, settings: dict[str, Any], seconds: float, say: Callable[[str], None]
    ):
        self._count = count
        self._settings = settings
        self._seconds = seconds
        self._say = say
        self._free: asyncio.Queue[Child] = asyncio.Queue()
        self._all: set[Child] = set()
        self._tasks: set[asyncio.Task] = set()
        self._ends = False
        self.restarts = 0

    async def start(self) -> None:
        """Start them, and wait until they can read."""
        await asyncio.gather(*(self._add() for _ in range(self._count)))

    async def stop(self) -> None:
        """End them."""
        self._ends = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(child.end() for child in self._all))

    async def read(self, content_type: str, body: bytes) -> Decoded:
        """The images of a body.

        Raises:
            Refused: for one that can't be read, or not within the limits.
        """
        # Who asked may go away: while no decoder is free, the body goes too. A decoder that has it
        # still finishes, and is free for the next.
        child = await self._living()
        return await asyncio.shield(self._start(self._read(child, content_type, body)))

    def _start(self, work: Coroutine) -> asyncio.Task:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it was told where anybody waited

    async def _read(self, child: Child, content_type: str, body: bytes) -> Decoded:
        try:
            child.send({"content_type": content_type}, body)
            answer, pixels = await asyncio.wait_for(child.receive(), self._seconds)
        except TimeoutError:
            self._replace(child, "took too long")
            raise Refused(
                422, f"Reading the body took more than {self._seconds:g} s, which it may not."
            ) from None
        except (EOFError, ValueError):
            self._replace(child, "died of a body")
            raise Refused(422, "Reading the body ended the process that read it.") from None
        except BaseException:
            self._replace(child, "was left alone")
            raise
        if answer["spent"]:
            self._replace(child, "has little memory left")
        else:
            self._free.put_nowait(child)
        if "reason" in answer:
            raise Refused(answer["status"], answer["reason"])
        errors = {int(i): reason for i, reason in answer["errors"].items()}
        return Decoded(answer["count"], pixels, errors, answer["words"], answer["request"])

    async def _living(self) -> Child:
        """One that is free, and hasn't ended while it was."""
        while True:
            child = await self._free.get()
            if child.process.returncode is None:
                return child
            self._replace(child, "died")

    async def _add(self) -> None:
        child = await Child.start("vintk_jax.serving.decoder", _environment())
        self._all.add(child)
        try:
            child.send(self._settings)
            await asyncio.wait_for(child.receive(), _START_SECONDS)
        except BaseException:
            self._all.discard(child)
            await child.end()
            raise
        self._free.put_nowait(child)

    def _replace(self, child: Child, why: str) -> None:
        """End one; another is started while others work."""
        self.restarts += 1
        self._say(f"A decoder {why}; another is started.")
        self._start(self._end_and_add(child))

    async def _end_and_add(self, child: Child) -> None:
        await child.end()
        self._all.discard(child)
        while not self._ends:
            with contextlib.suppress(EOFError, TimeoutError, OSError):
                return await self._add()
            await asyncio.sleep(1)


def _environment() -> dict[str, str]:
    """What a decoder is told of this process's environment: no token, and nothing else that a body
    that takes it over could want.
    """
    told = {name: os.environ[name] for name in _TOLD if name in os.environ}
    return {**told, **_ENVIRONMENT}
