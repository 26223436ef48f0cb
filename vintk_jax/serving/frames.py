"""What processes of the service say to each other over a socket: a header in JSON and some bytes.

Nothing is unpickled, so a decoder that a request has taken over can say nothing but numbers and
words.
"""

import asyncio
import json
import socket
import struct
from typing import Any

_SIZES = struct.Struct(">II")  # bytes of the header, and of what follows
_MOST_HEADER = 2**24

Frame = tuple[dict[str, Any], bytes]


def packed(header: dict[str, Any], *parts: Any) -> bytes:
    """A frame.

    Args:
        header: anything that JSON knows.
        parts: of the bytes that follow: bytes, or arrays of NumPy that lie in one piece.
    """
    words = json.dumps(header, separators=(",", ":")).encode()
    views = [memoryview(part).cast("B") if memoryview(part).nbytes else b"" for part in parts]
    return b"".join([_SIZES.pack(len(words), sum(map(len, views))), words, *views])


async def read(reader: asyncio.StreamReader) -> Frame:
    """The next frame.

    Raises:
        EOFError: when the other side has ended.
        ValueError: for what is no frame.
    """
    try:
        header, body = _SIZES.unpack(await reader.readexactly(_SIZES.size))
        _check(header)
        words = json.loads(await reader.readexactly(header))
        return words, await reader.readexactly(body)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EOFError("the other process has ended") from error


def read_now(sock: socket.socket) -> Frame:
    """The same by a thread that waits.

    Raises:
        EOFError: when the other side has ended.
    """
    header, body = _SIZES.unpack(_exactly(sock, _SIZES.size))
    _check(header)
    return json.loads(_exactly(sock, header)), _exactly(sock, body)


def _check(header: int) -> None:
    if header > _MOST_HEADER:
        raise ValueError(f"Expected a header of at most {_MOST_HEADER} bytes, got {header}.")


def _exactly(sock: socket.socket, count: int) -> bytes:
    content = bytearray(count)
    view = memoryview(content)
    while len(view):
        try:
            got = sock.recv_into(view)
        except ConnectionError as error:
            raise EOFError("the other process has ended") from error
        if not got:
            raise EOFError("the other process has ended")
        view = view[got:]
    return bytes(content)
