"""Compiled programs, kept between runs: a command's second start compiles nothing.

JAX keeps compiled programs in a folder and finds them by a key of the program, jaxlib's version,
XLA's flags and the devices. Its own store of files (`jax._src.lru_cache`) can be left damaged by a
kill, waits for locks, and warns for each program where it may not write. So a store of ours takes
its place: a file is complete or absent, its content is checked, nobody waits, and whatever goes
wrong only means that a program is compiled. A JAX_COMPILATION_CACHE_DIR of the user's own stays in
charge: JAX's store is then used as JAX ships it.
"""

import contextlib
import dataclasses
import hashlib
import math
import os
import platform
import tempfile
import time
from pathlib import Path

from vintk_jax.errors import UserError

VARIABLE = "VINTK_COMPILE_CACHE"
OFF = "off"

# A program that compiles in less is not worth a file. Our choice: reading and loading one takes
# some hundredths of a second.
_MIN_SECONDS = 0.05
_SUFFIX = ".program"
_PARTIAL = ".partial"
_DIGEST_BYTES = 32
_ABANDONED_S = 3600.0
# What is left of the bound after an eviction, so that not every new program evicts one.
_LEFT_AFTER_EVICTION = 0.9


@dataclasses.dataclass(frozen=True)
class CompileCacheSettings:
    """The section `compile_cache` of a config (vintk_jax/defaults/compile_cache.py).

    Attributes:
        folder: "auto", "off", or a path.
        max_gb: what all programs in it may take, in 10^9 bytes.

    Raises:
        UserError: for a bound that is no positive number.
    """

    folder: str = "auto"
    max_gb: float = 1.0

    def __post_init__(self):
        if not 0 < self.max_gb < math.inf:
            raise UserError(
                f"Expected compile_cache.max_gb above 0, got {self.max_gb}. "
                f"--config.compile_cache.folder={OFF} keeps no programs."
            )


DEFAULT_CACHE = CompileCacheSettings()
_in_use: Path | None = None


def in_use() -> Path | None:
    """The folder in which this process keeps what it made; None where it keeps nothing."""
    return _in_use


def chosen_folder(settings: CompileCacheSettings) -> Path | None:
    """The folder that the field, the environment or the system names; None for off."""
    named = settings.folder
    if named == "auto":
        named = os.environ.get(VARIABLE) or "auto"
    if named == OFF:
        return None
    if named != "auto":
        return Path(os.path.expanduser(named)).absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("vintk_jax", appauthor=False)) / "programs"


def machine() -> str:
    """A short digest of what compiled programs depend on besides JAX's own key: the processor's
    features, and the number of cores, which XLA splits loops by.
    """
    features = [platform.system(), platform.machine()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        named = ("flags", "Features", "model name")
        features += sorted({line for line in lines if line.startswith(named)})
    if hasattr(os, "sched_getaffinity"):
        features.append(str(len(os.sched_getaffinity(0))))
    else:
        features.append(str(os.cpu_count()))
    return hashlib.sha256("\n".join(features).encode()).hexdigest()[:12]


class ProgramStore:
    """Files of compiled programs, one a key, for JAX's cache to read and write.

    No method raises: a file that can't be read is a program that isn't there, one that can't be
    written is not kept. Readers and writers in other processes need no lock, since a file appears
    by a rename.
    """

    def __init__(self, folder: Path, max_bytes: int, root: Path | None = None):
        """A store in `folder`; `max_bytes` bounds all files below `root` (default: `folder`)."""
        self._path = folder
        self._root = root or folder
        self._max_bytes = max_bytes

    def get(self, key: str) -> bytes | None:
        """The program of that key; None where there is none, or a damaged one."""
        path = self._path / f"{key}{_SUFFIX}"
        try:
            content = path.read_bytes()
        except OSError:
            return None
        program = content[_DIGEST_BYTES:]
        if hashlib.sha256(program).digest() != content[:_DIGEST_BYTES]:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return program

    def put(self, key: str, value: bytes) -> None:
        """Keep a program, and drop the least recently used ones beyond the bound."""
        if len(value) > self._max_bytes:
            return
        partial = None
        try:
            self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, partial = tempfile.mkstemp(_PARTIAL, dir=self._path)
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(value).digest() + value)
            os.replace(partial, self._path / f"{key}{_SUFFIX}")
            self._evict()
        except OSError:
            if partial is not None:
                with contextlib.suppress(OSError):
                    os.unlink(partial)

    def _evict(self) -> None:
        """Least recently used first, until the bound holds; another process may be doing it too."""
        files = []
        for path in self._root.rglob("*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                if path.name.endswith(_SUFFIX):
                    files.append((status.st_mtime, status.st_size, path))
                elif path.name.endswith(_PARTIAL) and time.time() - status.st_mtime > _ABANDONED_S:
                    path.unlink()
        total = sum(size for _, size, _ in files)
        if total <= self._max_bytes:
            return
        for _, size, path in sorted(files):
            if total <= _LEFT_AFTER_EVICTION * self._max_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size


def keep_programs(settings: CompileCacheSettings) -> Path | None:
    """Let JAX keep compiled programs by these settings; call ahead of JAX's first operation.

    Returns:
        The folder that is used; None where none is, or where JAX's own variable names another.
    """
    import jax
    from jax._src import compilation_cache

    global _in_use
    root = chosen_folder(settings)
    _in_use = root if root is not None and _can_be_used(root) else None
    if _in_use is None or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None
    folder = root / f"jax-{jax.__version__}-{machine()}"
    store = ProgramStore(folder, int(settings.max_gb * 1e9), root)

    def our_store(path: str) -> tuple[ProgramStore, str]:
        return store, path

    # JAX asks this function for its store at the first compilation.
    compilation_cache.reset_cache()
    compilation_cache.get_file_cache = our_store
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _MIN_SECONDS)
    return folder


def _can_be_used(root: Path) -> bool:
    """Whether the folder is there, or can be made."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return False
    return os.access(root, os.R_OK | os.X_OK)
