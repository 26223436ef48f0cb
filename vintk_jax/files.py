"""Writing files so that nobody reads half of one, or half of a line."""

import json
import os
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Readers see the old file or the new one, never a part of it; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically: readers see the old file or the new one, also after a kill."""
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed process left unfinished; the caller holds the file's lock.

    Without it the next line would be joined to the half one, and both be lost.
    """
    if not path.exists():
        return
    with open(path, "rb+") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.flush()
        os.fsync(file.fileno())
