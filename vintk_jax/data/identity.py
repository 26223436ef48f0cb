"""What a source of images is, as a short text. The text changes when any file, image or label does,
so that nothing made of the old ones is taken for something made of the new ones.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def of_files(paths: Iterable[Path], *labels: Any) -> str:
    """Of files by name, size and time of their last change, and of what stands beside them."""
    digest = hashlib.blake2b(digest_size=8)
    for path in paths:
        digest.update(os.fsencode(path))
        try:
            status = path.stat()
        except OSError:  # a link to nowhere, say: whoever reads it says what is wrong
            digest.update(b" can't be looked at\n")
        else:
            digest.update(f" {status.st_size} {status.st_mtime_ns}\n".encode())
    return _with(digest, labels)


def of_arrays(*arrays: np.ndarray) -> str:
    """Of arrays by their contents."""
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def of_words(*words: Any) -> str:
    """Of whatever has a fixed text: names, numbers, other identities."""
    return _with(hashlib.blake2b(digest_size=8), words)


def _with(digest: Any, words: tuple[Any, ...]) -> str:
    for word in words:
        digest.update(repr(word).encode(errors="backslashreplace") + b"\n")
    return digest.hexdigest()
