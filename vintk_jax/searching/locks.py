"""The lock that processes of one search take turns under: of a file in the workdir, or of the
database that they share.

Both die with their holder. The operating system frees the file's lock; the server frees that of a
connection that is gone. A suspended holder keeps its lock, so whoever waits long for the file's is
told who holds it.
"""

import os
import sys
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from filelock import FileLock, Timeout

from vintk_jax.searching import leases

_LOCKS = Path("/proc/locks")  # Linux's
# By the dialect's name: what takes a lock of the whole server and waits for it, and what gives it
# back.
_STATEMENTS = {
    "postgresql": ("SELECT pg_advisory_lock(:key)", "SELECT pg_advisory_unlock(:key)"),
    "mysql": (
        "SELECT GET_LOCK(CONCAT('vintk_jax-', :key), -1)",
        "SELECT RELEASE_LOCK(CONCAT('vintk_jax-', :key))",
    ),
}


@runtime_checkable
class Lock(Protocol):
    """A context manager that may be entered again by whoever holds it."""

    def __enter__(self) -> Any:
        """Wait for it."""

    def __exit__(self, *error: Any) -> None:
        """Give it back."""


class WorkdirLock:
    """A lock of a file, for processes that share its folder. Each thread takes it for itself, and
    may enter it again. Optuna's journal takes it by `acquire` and `release`.

    Args:
        path: of the file.
        patience_s: how long to wait before saying who holds it, once a wait.
    """

    def __init__(self, path: Path, patience_s: int | float = 10.0):
        self._path = path
        self._patience_s = patience_s
        self._lock = FileLock(path)
        self._telling = threading.Lock()
        self._told = False

    def acquire(self) -> bool:
        """Wait for it, however long."""
        try:
            self._lock.acquire(timeout=self._patience_s)
        except Timeout:
            self._tell()
            self._lock.acquire(timeout=-1)
        self._told = False
        return True

    def release(self) -> None:
        """Give it back."""
        self._lock.release()

    def __enter__(self) -> "WorkdirLock":
        self.acquire()
        return self

    def __exit__(self, *error: Any) -> None:
        self.release()

    def _tell(self) -> None:
        """Say who holds it, unless another thread of this process, which waits as well, has."""
        with self._telling:
            if self._told:
                return
            self._told = True
        print(
            f"{self._path} has been held for {self._patience_s:g} s or more by "
            f"{described(holders(self._path))}. This process goes on waiting.",
            file=sys.stderr,
            flush=True,
        )


def holders(path: Path, listed: Path = _LOCKS) -> list[int]:
    """Numbers of the processes that hold a lock of a file. Empty where the system doesn't tell, or
    where they are of another host or container.

    Args:
        listed: the system's list of locks.
    """
    try:
        lines = listed.read_text().splitlines()
        status = os.stat(path)
    except OSError:
        return []
    device = os.major(status.st_dev), os.minor(status.st_dev)
    here: list[int] = []
    elsewhere: list[int] = []
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 1234 fe:00:2147331 0 EOF; one that waits has "->" behind its 1:
        fields = line.split()
        if len(fields) < 6 or fields[1] == "->":
            continue
        pid = int(fields[4])
        major, minor, inode = fields[5].split(":")
        if int(inode) == status.st_ino and pid > 0:
            same_device = (int(major, 16), int(minor, 16)) == device
            (here if same_device else elsewhere).append(pid)
    # Some file systems (btrfs) list their files under another device than they say they are on.
    return sorted(set(here or elsewhere))


def described(pids: Sequence[int]) -> str:
    """Processes in words, and what to do about suspended ones."""
    if not pids:
        return "another process"
    suspended = [pid for pid in pids if leases.suspended(pid)]
    said = [f"process {pid}" + " (suspended)" * (pid in suspended) for pid in pids]
    numbers = " ".join(map(str, suspended))
    advice = f"; let it go on (kill -CONT {numbers}) or end it" if suspended else ""
    return " and ".join(said) + advice


class DatabaseLock:
    """A lock of a database server, for processes on any number of machines.

    Args:
        url: of the database; see `locks_by_database`.
        name: what is locked.
    """

    def __init__(self, url: str, name: str):
        import sqlalchemy  # a third of a second, for who shares a search by a database

        self._engine = sqlalchemy.create_engine(
            url, poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT"
        )
        self._take, self._give = map(sqlalchemy.text, _STATEMENTS[self._engine.dialect.name])
        self._key = {"key": zlib.crc32(name.encode())}
        self._connection: Any = None
        self._depth = 0
        self._threads = threading.RLock()  # a connection is of one thread at a time

    def __enter__(self) -> "DatabaseLock":
        self._threads.acquire()
        if not self._depth:
            if self._connection is None:
                self._connection = self._engine.connect()
            self._connection.execute(self._take, self._key)
        self._depth += 1
        return self

    def __exit__(self, *error: Any) -> None:
        self._depth -= 1
        if not self._depth:
            self._connection.execute(self._give, self._key)
        self._threads.release()


def locks_by_database(url: str) -> bool:
    """Whether a storage's address is that of a server that has locks: PostgreSQL or MySQL."""
    return url.split(":")[0].split("+")[0] in _STATEMENTS


def lock_of(workdir: Path, url: str, name: str) -> Lock:
    """The lock of a search.

    Where the storage is another (Redis, say), processes that share a workdir exclude each other;
    those that don't may, rarely, score an architecture twice.

    Args:
        url: the storage's address; empty for the journal in the workdir.
        name: of the study.
    """
    return DatabaseLock(url, name) if locks_by_database(url) else WorkdirLock(workdir / ".lock")
