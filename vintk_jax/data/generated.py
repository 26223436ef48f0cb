"""Images that a generator makes: made once, ahead of being asked for, and kept between runs.

They are plain arrays in a file beside the compiled programs, where a command keeps those
(`compile_cache`). A library's user has them in memory alone. The file's name holds a digest of all
that the images depend on. The file appears by a rename, so it is complete or absent.
"""

import atexit
import contextlib
import hashlib
import os
import re
import tempfile
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax import compile_cache

Example = tuple[Any, ...]  # arrays and numbers
_CHECKED = 8  # images of a file that are made again and compared


class Generated(Sequence):
    """Examples by number, each a tuple of arrays.

    Args:
        name: of the file; it says which generator and which of its sets this is.
        depends: all that examples depend on besides their number.
        length: how many there are.
        make: the example of a number, always the same.
    """

    def __init__(
        self, name: str, depends: Sequence[str], length: int, make: Callable[[int], Example]
    ):
        self._make = make
        self._length = length
        self._name = name
        digest = hashlib.sha256("\n".join(depends).encode()).hexdigest()[:16]
        folder = compile_cache.in_use()
        self._path = folder / "made" / f"{name}-{digest}.npz" if folder else None
        first = make(0)
        self._arrays = [
            np.zeros((length, *np.shape(part)), np.asarray(part).dtype) for part in first
        ]
        self._there = np.zeros(length, bool)
        self._put(0, first)
        self._stop = threading.Event()
        self._read()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Example:
        if not self._there[index]:
            self._put(index, self._make(index))
            if self._there.all():
                self._write()
        return tuple(array[index] for array in self._arrays)

    def start(self) -> None:
        """Begin to make all that is missing, in a thread. A command compiles for seconds before it
        asks for the first image.
        """
        if self._there.all():
            return
        thread = threading.Thread(target=self._make_all, daemon=True)
        thread.start()

        def end() -> None:
            self._stop.set()
            thread.join()

        atexit.register(end)

    def _make_all(self) -> None:
        for index in range(self._length):
            if self._stop.is_set():
                return
            if not self._there[index]:
                self[index]

    def _put(self, index: int, example: Example) -> None:
        for array, part in zip(self._arrays, example, strict=True):
            array[index] = part
        self._there[index] = True

    def _read(self) -> None:
        """Take the file's examples, if there is one and some of them are what is made now."""
        if self._path is None or not self._path.is_file():
            return
        try:
            with self._path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = [file[name] for name in sorted(file.files)]
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
            return
        like = [(array.shape, array.dtype) for array in self._arrays]
        if [(array.shape, array.dtype) for array in arrays] != like:
            return
        for index in np.linspace(0, self._length - 1, _CHECKED).astype(int):
            made = self._make(int(index))
            if any((array[index] != part).any() for array, part in zip(arrays, made, strict=True)):
                return
        self._arrays = arrays
        self._there[:] = True

    def _write(self) -> None:
        """Keep the examples. Where that can't be done, they are made again next time."""
        if self._path is None:
            return
        partial = None
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, partial = tempfile.mkstemp(".partial", dir=self._path.parent)
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **{f"{i:02}": array for i, array in enumerate(self._arrays)})
            Path(partial).replace(self._path)
            partial = None
            self._drop_older()
        if partial is not None:
            Path(partial).unlink(missing_ok=True)

    def _drop_older(self) -> None:
        """Files of this name that were made by other code."""
        of_this_name = re.compile(re.escape(self._name) + r"-[0-9a-f]{16}\.npz")
        for path in self._path.parent.iterdir():
            if path != self._path and of_this_name.fullmatch(path.name):
                path.unlink(missing_ok=True)
