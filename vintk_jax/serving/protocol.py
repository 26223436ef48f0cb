"""uvicorn's HTTP connection with bounds that it lacks: on the number of connections, on the time
that a request's header may take, on readers that don't read. h11 bounds the size of headers.
"""

import asyncio
import dataclasses
import json
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST_HEADER_BYTES = 2**14
_PIECE = 2**12


@dataclasses.dataclass(frozen=True)
class ConnectionLimits:
    """Bounds on connections.

    Attributes:
        connections: at a time.
        header_seconds: that a request's header may take from its first byte, and a new connection
            to begin one.
        unread_seconds: that an answer may wait for its reader.
        refused: called with the status of each answer that no application has given.
    """

    connections: int
    header_seconds: float
    unread_seconds: float
    refused: Callable[[str], None]


def bounded(limits: ConnectionLimits) -> type[H11Protocol]:
    """The class of connections with these bounds, for uvicorn's setting `http`."""

    class Bounded(_Bounded):
        bounds = limits

    return Bounded


def plain_answer(status: str, reason: str) -> bytes:
    """A whole answer, where there is no request that an application could answer."""
    body = json.dumps({"error": reason}).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Bounded(H11Protocol):
    """A connection."""

    bounds: ConnectionLimits

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.conn = h11.Connection(h11.SERVER, _MOST_HEADER_BYTES)
        self._header_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections:
            self._refuse("503 Service Unavailable", "Too many connections are open.")
        else:
            self._watch_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # In pieces, so that a header that came in one is bounded as one that came in many: h11
        # looks at the size of what is incomplete after each.
        while data and not self.transport.is_closing():
            size = _PIECE if self._idle else len(data)
            super().data_received(data[:size])
            data = data[size:]
        if self.transport.is_closing():
            self._abort_later()
        elif self._idle and self.timeout_keep_alive_task is None:
            self._watch_header()
        else:
            self._stop_watching()

    def eof_received(self) -> None:
        """A sender that has ended in the middle of its request is told; one that has sent it all is
        gone, as far as anybody can know, and frees its place.
        """
        begun = bool(self.conn.trailing_data[0]) if self._idle else self.cycle.more_body
        answered = self.cycle is not None and self.cycle.response_started and not self._idle
        if begun and not answered and not self.transport.is_closing():
            self._refuse("400 Bad Request", "The request ended before it was whole.")
        return super().eof_received()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._abort_later()

    def send_400_response(self, msg: str) -> None:
        """In JSON, as all reasons are."""
        self._refuse("400 Bad Request", msg)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._abort_later()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._abort_later()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer is not None and not self.transport.is_closing():
            self._unread_timer.cancel()
            self._unread_timer = None

    @property
    def _idle(self) -> bool:
        """Whether no request is in work."""
        return self.cycle is None or self.cycle.response_complete

    def _watch_header(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self.bounds.header_seconds, self._too_slow)

    def _stop_watching(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _too_slow(self) -> None:
        self._header_timer = None
        if self._idle and not self.transport.is_closing():
            seconds = self.bounds.header_seconds
            self._refuse("408 Request Timeout", f"Expected a whole header within {seconds:g} s.")

    def _refuse(self, status: str, reason: str) -> None:
        """Answer and close; whoever works on the request is told that its sender is gone."""
        self.bounds.refused(status.partition(" ")[0])
        self.transport.write(plain_answer(status, reason))
        self._stop_watching()
        if not self._idle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
        self._abort_later()

    def _abort_later(self) -> None:
        """What isn't read by then is thrown away."""
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(
                self.bounds.unread_seconds, self.transport.abort
            )
