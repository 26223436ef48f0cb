"""A decoder: a process that opens what strangers send, within limits of memory. Who waits for it
ends it when it takes too long.
"""

import resource
import signal
import socket
from pathlib import Path
from typing import Any

from vintk_jax.serving import frames
from vintk_jax.serving.bodies import Reader
from vintk_jax.serving.refusals import Refused

_PAGE = resource.getpagesize()


def main(descriptor: int) -> None:
    """Read bodies from a socket until it is closed.

    Args:
        descriptor: of the socket. Its first frame has the arguments of a `Reader`, and "memory":
            bytes beyond what the process begins with.
    """
    # Whoever ends a service ends the group of its processes, often; only the front is to listen.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as sock:
        try:
            settings, _ = frames.read_now(sock)
            reader = Reader(
                tuple(settings["shape"]),
                settings["crop_ratio"],
                settings["most_images"],
                settings["most_pixels"],
            )
            limit(settings["memory"])
            sock.sendall(frames.packed({"ready": True}))
            while True:
                asked, body = frames.read_now(sock)
                sock.sendall(_answer(reader, asked, body))
        except (EOFError, BrokenPipeError, KeyboardInterrupt):
            return


def limit(memory: int) -> None:
    """Bound what this process may have: no file can be written or grow, no more memory than said,
    no core is left behind.
    """
    now = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    _lower(resource.RLIMIT_AS, now + memory)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, 32)


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (allowed, allowed))


def _answer(reader: Reader, asked: dict[str, Any], body: bytes) -> bytes:
    try:
        found = reader.read(asked["content_type"], body)
    except Refused as refused:
        return frames.packed({"status": refused.status, "reason": refused.reason})
    except MemoryError:
        return frames.packed({"status": 413, "reason": "This needs more memory than it may have."})
    except Exception as error:  # a fault of ours or of a library: this body's, and no other's
        reason = f"The body can't be read ({type(error).__name__})."
        return frames.packed({"status": 422, "reason": reason})
    header = {
        "count": len(found.images),
        "errors": {str(i): reason for i, reason in found.errors.items()},
        "words": found.words,
        "request": found.request,
    }
    return frames.packed(header, found.images)
