"""What the operating system refuses, as one message with the path and what to do."""

import errno
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

_ADVICE = {
    errno.ENOSPC: "There is no space left for {path}. Free some; the same command goes on.",
    errno.EDQUOT: "Your quota is used up at {path}. Free some space; the same command goes on.",
    errno.EROFS: "{path} can't be written: its file system is read-only. Name another folder.",
    errno.EACCES: "{path} can't be used: permission denied. Change its rights, or name another.",
    errno.EPERM: "{path} can't be used: not permitted. Change its rights, or name another.",
    errno.ENOTDIR: "{path} lies below a file, where a folder was wanted. Name another.",
    errno.EISDIR: "{path} is a folder, where a file was wanted. Name another.",
    errno.EEXIST: "{path} exists already, and is a file where a folder was wanted. Name another.",
    errno.ENOENT: "{path} is not there. Was it moved or removed? Name another.",
    errno.EMFILE: "Too many files are open, at {path}. Raise the limit (ulimit -n).",
    errno.ENFILE: "The system has too many open files, at {path}. Close some programs.",
    errno.EIO: "The disk failed at {path} (input/output error). Try again; look at the disk.",
    errno.ENAMETOOLONG: "The name {path} is too long. Choose a shorter one.",
    errno.ESTALE: "The network's file system lost {path}. Try again.",
}
# What may pass: it says nothing about what is in the file.
_PASSING = {
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EACCES,
    errno.EPERM,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ESTALE,
    errno.EAGAIN,
    errno.EINTR,
    errno.ETIMEDOUT,
}
# Libraries written in other languages raise their own types, with the system's words in them.
_WORDS = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)}


_folder: list[Path] = []  # where the command writes


def writing_to(folder: Path) -> None:
    """From now on, an error that names no file is told as one of this folder."""
    _folder[:] = [folder]


def _somewhere() -> str:
    return f"a file in {_shown(_folder[0])}" if _folder else "a file"


def _shown(path: str | bytes | os.PathLike | int) -> str:
    """A path as people read it, whatever bytes are in it."""
    if isinstance(path, int):
        return f"the open file {path}"
    return os.fsencode(path).decode(errors="backslashreplace")


def explained(error: BaseException) -> str | None:
    """One message for an error of the system, or for one that came of it (raised by a library, in
    a thread, or in a group); None for any other error.
    """
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _ADVICE:
            name = one.filename if one.filename is not None else one.filename2
            path = _somewhere() if name is None else _shown(name)
            return _ADVICE[one.errno].format(path=path)
    for one in _chain(error):
        for words, number in _WORDS.items():
            if words in str(one):
                return _ADVICE[number].format(path=_somewhere()) + f" ({_first_line(one)})"
    return None


def silence_threads() -> None:
    """From now on, threads say nothing of errors of the system: whoever waits for them does."""

    def hook(arguments):
        if arguments.exc_value is None or explained(arguments.exc_value) is None:
            threading.__excepthook__(arguments)

    def from_callback(told):
        # What a callback of a library in C++ raised: of orbax, that it gave up before, and nobody
        # is left to tell.
        late = isinstance(told.exc_value, RuntimeError) and "loop is closed" in str(told.exc_value)
        if not late and (told.exc_value is None or explained(told.exc_value) is None):
            sys.__unraisablehook__(told)

    threading.excepthook = hook
    sys.unraisablehook = from_callback


def may_pass(error: BaseException) -> bool:
    """Whether an error, or what it came of, may be gone at the next try: a disk that failed, too
    many open files, rights, memory. No proof that a file is damaged.
    """
    words = [os.strerror(number) for number in _PASSING]
    return any(
        (isinstance(one, OSError) and one.errno in _PASSING)
        or isinstance(one, MemoryError)
        or any(word in str(one) for word in words)
        for one in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what it came of, and the members of groups among them."""
    waiting = [error]
    seen = set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += [other for other in (one.__cause__, one.__context__) if other is not None]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
