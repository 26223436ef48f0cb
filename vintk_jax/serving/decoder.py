"""A decoder: a process that opens what strangers send, within limits of memory. Who waits for it
ends it when it takes too long.
"""

import gc
import logging
import resource
import signal
import socket
from typing import Any

from vintk_jax.serving import frames
from vintk_jax.serving.bodies import Reader
from vintk_jax.serving.refusals import Refused

_PAGE = resource.getpagesize()
_KEPT = 0.75  # of its memory, which is free ahead of a body


def main(descriptor: int) -> None:
    """Read bodies from a socket until it is closed.

    Args:
        descriptor: of the socket. Its first frame has the arguments of a `Reader`, and "memory":
            bytes beyond what the process begins with.
    """
    # Whoever ends a service ends the group of its processes, often; only the front is to listen.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)  # libraries tell what they found in a request
    with socket.socket(fileno=descriptor) as sock:
        try:
            settings, _ = frames.read_now(sock)
            reader = Reader(
                tuple(settings["shape"]),
                settings["crop_ratio"],
                settings["most_images"],
                settings["most_pixels"],
            )
            most = limit(settings["memory"])
            sock.sendall(frames.packed({"ready": True}))
            while True:
                asked, body = frames.read_now(sock)
                header, parts = _answer(reader, asked, body)
                del body
                header["spent"] = _is_spent(most, settings["memory"])
                sock.sendall(frames.packed(header, *parts))
                del parts
        except (EOFError, BrokenPipeError, MemoryError):
            return


def _is_spent(most: int, memory: int) -> bool:
    """Whether so little is left that the next body may suffer for what earlier ones took: then
    another process takes its place.
    """
    enough = most - _KEPT * memory
    if _memory() <= enough:
        return False
    gc.collect()  # an error holds the picture that it came of, in a circle
    return _memory() > enough


def limit(memory: int) -> int:
    """Bound what this process may have: no file can grow, no more memory than said, no core is left
    behind. Gives back its bytes of address space at most.
    """
    most = _memory() + memory
    _lower(resource.RLIMIT_AS, most)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, 32)
    return most


def _memory() -> int:
    """Bytes of address space that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * _PAGE


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (allowed, allowed))


def _answer(
    reader: Reader, asked: dict[str, Any], body: bytes
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """The header of a frame, and what follows it."""
    try:
        found = reader.read(asked["content_type"], body)
    except Refused as refused:
        return {"status": refused.status, "reason": refused.reason}, ()
    except MemoryError:
        return {"status": 413, "reason": "This needs more memory than it may have."}, ()
    except Exception as error:  # a fault of ours or of a library: this body's, and no other's
        reason = f"The body can't be read ({type(error).__name__})."
        return {"status": 422, "reason": reason}, ()
    header = {
        "count": len(found.images),
        "errors": {str(i): reason for i, reason in found.errors.items()},
        "words": found.words,
        "request": found.request,
    }
    return header, (found.images,)
