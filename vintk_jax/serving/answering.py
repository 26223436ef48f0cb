"""From a request to the answers of its images: its body is read, its images are opened, they get
places and wait for the worker; all of it within one limit of time.
"""

import asyncio
import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from starlette.requests import ClientDisconnect, Request

from vintk_jax.errors import UserError
from vintk_jax.serving.asks import asks_of, check_names, top_of
from vintk_jax.serving.decoders import Decoded, Decoders
from vintk_jax.serving.link import Link
from vintk_jax.serving.places import Places, Ticket
from vintk_jax.serving.receiving import Receiving
from vintk_jax.serving.refusals import Refused, not_ready

RAW = "application/octet-stream"


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came of a request.

    Attributes:
        ticket: the answers to the images that could be read.
        decoded: what the body held.
        top: how many classes are asked for; None for all.
    """

    ticket: Ticket
    decoded: Decoded
    top: int | None


class Answering:
    """Answers requests that hold images.

    Args:
        link: to the worker.
        decoders: of bodies.
        receiving: of bodies.
        places: for images in work.
        seconds: that a request may take, from its header to its answer.
        most_images: in a request.
    """

    def __init__(
        self,
        link: Link,
        decoders: Decoders,
        receiving: Receiving,
        places: Places,
        seconds: float,
        most_images: int,
    ):
        self._link = link
        self._decoders = decoders
        self._receiving = receiving
        self._places = places
        self._seconds = seconds
        self._most_images = most_images

    async def answers(self, request: Request, kind: str = "") -> Answers:
        """The answers to a request's images.

        Args:
            kind: of its body; its own header says so where this is empty.

        Raises:
            Refused: with the status that says why there are none.
            ClientDisconnect: when its sender has gone.
        """
        with self._held() as keep:
            try:
                async with asyncio.timeout(self._seconds):
                    if not self._link.ready:
                        raise not_ready("The model is not ready yet. Ask again.")
                    words = _query(request)
                    kind = kind or _kind(request)
                    body = await self._receiving.body(request, keep)
                    return await _unless_gone(request, self._work(kind, body, words))
            except TimeoutError as error:
                raise Refused(
                    504, f"There was no answer within {self._seconds:g} s. Ask again later."
                ) from error
            except UserError as error:
                raise Refused(400, str(error)) from error

    @contextlib.contextmanager
    def _held(self) -> Iterator[Any]:
        """Count the bytes that are held for a request, and give them back."""
        sizes: list[int] = []
        try:
            yield sizes.append
        finally:
            self._receiving.release(sum(sizes))

    async def _work(self, kind: str, body: bytes, words: dict[str, list[Any]]) -> Answers:
        if kind.partition(";")[0].strip().lower() == RAW:
            count = self._raw_count(body)
            self._places.take(count)
            decoded = Decoded(count, body, {}, {}, {})
        else:
            decoded = await self._read(kind, body)
        try:
            for name, values in decoded.words.items():
                words.setdefault(name, []).extend(values)
            check_names(words)
            total = decoded.count + len(decoded.errors)
            asks = asks_of(words, total)
            asks = [ask for i, ask in enumerate(asks) if i not in decoded.errors]
            top = top_of(words, len(self._link.about["classes"]))
        except BaseException:
            self._places.give(decoded.count)
            raise
        ticket = self._link.ask(decoded.pixels, asks)
        try:
            await ticket.done
        except asyncio.CancelledError:
            self._link.cancel(ticket)
            raise
        return Answers(ticket, decoded, top)

    async def _read(self, kind: str, body: bytes) -> Decoded:
        """Open a body; its images have places then."""
        self._places.take(1)  # of images that nobody has counted yet
        try:
            decoded = await self._decoders.read(kind, body)
        except BaseException:
            self._places.give(1)
            raise
        self._places.give(1)
        self._places.take(decoded.count)
        return decoded

    def _raw_count(self, body: bytes) -> int:
        """How many images a body of bare pixels holds."""
        shape = self._link.about["shape"]
        size = math.prod(shape)
        if not body or len(body) % size:
            raise Refused(
                400,
                f"Expected pixels of whole images, {' x '.join(map(str, shape))} bytes each, got "
                f"{len(body):,} bytes. An image file is sent with its own Content-Type, image/png "
                "say.",
            )
        if len(body) // size > self._most_images:
            raise Refused(413, f"Expected at most {self._most_images} images a request.")
        return len(body) // size


def _query(request: Request) -> dict[str, list[Any]]:
    """What the address asks for."""
    words: dict[str, list[Any]] = {}
    for name, value in request.query_params.multi_items():
        words.setdefault(name, []).append(value)
    check_names(words)
    return words


def _kind(request: Request) -> str:
    """What the body is, as its header says.

    Raises:
        Refused: for what is none of those that are read.
    """
    kind = request.headers.get("content-type", "")
    bare = kind.partition(";")[0].strip().lower()
    if bare in (RAW, "multipart/form-data") or bare.startswith("image/"):
        return kind
    raise Refused(
        415,
        f"Expected the Content-Type image/..., multipart/form-data or {RAW}, got {bare[:60]!r}.",
    )


async def _unless_gone(request: Request, work: Any) -> Any:
    """What the work comes to; it is cancelled when its sender has gone."""
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await working


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
