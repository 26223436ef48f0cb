"""Reading a request's body, within bounds on its size, its time, and what all bodies take."""

import asyncio
import time
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

from vintk_jax.serving.refusals import Refused, busy

_DISCARDED = 2**26  # bytes of a refused body that are read before the answer
_DISCARD_SECONDS = 2.0


class Receiving:
    """Bodies of all requests.

    Args:
        most: bytes of one body; most_together: of all that are held at a time.
        seconds: that a body may take.
    """

    def __init__(self, most: int, most_together: int, seconds: float):
        self._most = most
        self._most_together = most_together
        self._seconds = seconds
        self._held = 0

    async def body(self, request: Request, keep: Callable[[int], None]) -> bytes:
        """The whole body.

        Args:
            keep: called with the bytes that are held for this request, which gives them back by
                `release`.

        Raises:
            Refused: for one that is too large or too slow, or when too many come together.
            ClientDisconnect: when its sender has gone.
        """
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self._most:
            await self._discard(request)
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._seconds):
                async for part in request.stream():
                    size += len(part)
                    if size > self._most:
                        raise self._too_large()
                    if self._held + len(part) > self._most_together:
                        raise busy("The bodies of other requests take all memory there is.", 1)
                    self._held += len(part)
                    keep(len(part))
                    parts.append(part)
        except TimeoutError as error:
            raise Refused(
                408,
                f"Expected the whole body within {self._seconds:g} s.",
                {"Connection": "close"},
            ) from error
        except Refused:
            await self._discard(request)
            raise
        return b"".join(parts)

    def release(self, size: int) -> None:
        """Bytes that nobody holds any more."""
        self._held -= size

    def _too_large(self) -> Refused:
        reason = f"Expected a body of at most {self._most:,} bytes."
        return Refused(413, reason, {"Connection": "close"})

    async def _discard(self, request: Request) -> None:
        """Read on for a while: a sender that is still sending would not hear the answer."""
        if request.headers.get("expect", "").lower() == "100-continue":
            return
        begun = time.monotonic()
        size = 0
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while size < _DISCARDED and time.monotonic() - begun < _DISCARD_SECONDS:
                    message = await request.receive()
                    size += len(message.get("body", b""))
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    if not message.get("more_body"):
                        return
        except TimeoutError:
            return
