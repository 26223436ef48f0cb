"""Writing a file so that nobody reads half of it."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Readers see the old file or the new one, never a part of it; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
