"""The decoders, as the front sees them: bodies go to the next that is free, one that takes too long
or dies is replaced.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from vintk_jax.serving.child import Child
from vintk_jax.serving.refusals import Refused

# A decoder has one core, and the address space of threads that it doesn't start is no loss.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
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
        self.restarts = 0

    async def start(self) -> None:
        """Start them, and wait until they can read."""
        await asyncio.gather(*(self._add() for _ in range(self._count)))

    async def stop(self) -> None:
        """End them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(child.end() for child in self._all))

    async def read(self, content_type: str, body: bytes) -> Decoded:
        """The images of a body.

        Raises:
            Refused: for one that can't be read, or not within the limits.
        """
        # Who asked may go away; the decoder then still finishes, and is free for the next.
        task = asyncio.create_task(self._read(content_type, body))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # it was told where anybody waited

    async def _read(self, content_type: str, body: bytes) -> Decoded:
        child = await self._living()
        try:
            child.send({"content_type": content_type}, body)
            answer, pixels = await asyncio.wait_for(child.receive(), self._seconds)
        except TimeoutError:
            await self._replace(child, "took too long")
            raise Refused(
                422, f"Reading the body took more than {self._seconds:g} s, which it may not."
            ) from None
        except (EOFError, ValueError):
            await self._replace(child, "died of a body")
            raise Refused(422, "Reading the body ended the process that read it.") from None
        except BaseException:
            await self._replace(child, "was left alone")
            raise
        if answer["spent"]:
            await self._replace(child, "has little memory left")
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
            await self._replace(child, "died")

    async def _add(self) -> None:
        child = await Child.start("vintk_jax.serving.decoder", _ENVIRONMENT)
        self._all.add(child)
        child.send(self._settings)
        await asyncio.wait_for(child.receive(), _START_SECONDS)
        self._free.put_nowait(child)

    async def _replace(self, child: Child, why: str) -> None:
        """End one; another is started while others work."""
        self._all.discard(child)
        await child.end()
        self.restarts += 1
        self._say(f"A decoder {why}; another is started.")
        task = asyncio.create_task(self._add_again())
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    async def _add_again(self) -> None:
        while True:
            with contextlib.suppress(EOFError, TimeoutError, OSError):
                return await self._add()
            await asyncio.sleep(1)
