"""What processes of one search take turns under: a file in the workdir, or where they share a
database, a lock of that.

Both die with their holder: the operating system frees the file's, the server the lock of a
connection that is gone.
"""

import threading
import zlib
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from filelock import FileLock

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
    return DatabaseLock(url, name) if locks_by_database(url) else FileLock(workdir / ".lock")
