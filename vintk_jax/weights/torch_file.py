"""PyTorch's .pth files as NumPy arrays, without PyTorch and without executing what is in them.

Such a file is a pickle, which may name any function to be called as it is opened. Here a pickle
gets the few things that rebuild tensors; settings that checkpoints carry along become `Opaque`,
which does nothing; anything else is refused by name. A pickle may also set attributes on what it
gets, so each file has a class and functions of its own. Sizes are checked before memory is taken
(`unpacking`). Both layouts of `torch.save` are read: the archive (torch 1.6 and later) and the
stream that was before.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from vintk_jax import unpacking
from vintk_jax.errors import UserError

_DTYPES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # what the older layout begins with
# Settings and counters beside the weights; none of them is looked into, but for a Namespace's
# values.
_SETTINGS = {
    "argparse.Namespace",
    "builtins.set",
    "_codecs.encode",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "torch.device",
    "torch.Size",
    "torch.float32",
    "torch.float16",
    "torch.bfloat16",
    "torch.float64",
    "torch.int64",
    "collections.defaultdict",
    "builtins.dict",
    "builtins.list",
}


class Opaque:
    """Stands for a setting whose class isn't there: takes what a pickle puts into it, and does
    nothing.
    """

    def __new__(cls, *_: Any) -> "Opaque":
        made = super().__new__(cls)
        made.values = {}
        return made

    def __init__(self, *_: Any):
        """Whatever it is called with is dropped."""

    def __setstate__(self, state: Any) -> None:
        self.values = state if isinstance(state, dict) else {}

    def __setitem__(self, key: Any, value: Any) -> None:
        """Pickles fill dictionaries so."""


class _Storage:
    """Numbers in a row, of one type; in the older layout they come after the tensors that are made
    of them.
    """

    def __init__(self, dtype: type, size: int):
        self.dtype, self.size, self.bytes = np.dtype(dtype), size, b""

    def array(self) -> np.ndarray:
        return np.frombuffer(self.bytes, self.dtype, self.size)


class _Tensor:
    """A view of a storage."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any):
        self.storage, self.offset, self.shape, self.strides = (
            storage,
            offset,
            tuple(shape),
            tuple(strides),
        )

    def array(self) -> np.ndarray:
        extent = self.offset + (
            sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)) + 1
            if all(self.shape)
            else 0
        )
        negative = self.offset < 0 or any(number < 0 for number in (*self.shape, *self.strides))
        if (
            negative
            or extent > self.storage.size
            or len(self.storage.bytes) < self.storage.size * self.storage.dtype.itemsize
        ):
            raise UserError("a tensor reaches beyond the numbers that are there")
        start = _Storage.array(self.storage)[self.offset :]
        steps = tuple(step * self.storage.dtype.itemsize for step in self.strides)
        return np.lib.stride_tricks.as_strided(start, self.shape, steps, writeable=False).copy()


class _Unpickler(pickle.Unpickler):
    """Knows tensors, dictionaries and settings."""

    def __init__(self, file: io.BufferedIOBase, storages: dict[str, _Storage]):
        super().__init__(file, encoding="latin1")
        self._storages = storages
        self._setting = type("Setting", (Opaque,), {})

        def tensor(*arguments: Any) -> _Tensor:
            return _Tensor(*arguments)

        def parameter(data: Any, *_: Any) -> Any:
            return data

        self._known = {
            "collections.OrderedDict": OrderedDict,
            "torch._utils._rebuild_tensor_v2": tensor,
            "torch._utils._rebuild_parameter": parameter,
        }

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in self._known:
            return self._known[full]
        if module in ("torch", "torch.cuda") and name in _DTYPES:
            return _DTYPES[name]
        if full in _SETTINGS:
            return self._setting
        raise UserError(
            f"it asks for {full}, which is no part of a weight; nothing of it was executed"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        if (
            not isinstance(pid, tuple)
            or len(pid) < 5
            or pid[0] != "storage"
            or pid[1] not in _DTYPES.values()
        ):
            raise UserError("it refers to something that is no storage of numbers")
        if len(pid) > 5 and pid[5] is not None:
            raise UserError(
                "its storages are views of each other, as in PyTorch before 0.4; save it anew with "
                "a later one"
            )
        key, size = str(pid[2]), int(pid[4])
        return self._storages.setdefault(key, _Storage(pid[1], size))


def read_torch(path: Path) -> Any:
    """What `torch.save` has written: tensors as arrays, inside dictionaries and lists as they were.

    Raises:
        UserError: for a file that asks for anything but tensors and settings, or isn't whole.
    """
    try:
        with open(path, "rb") as file:
            whole = _read_archive(path) if zipfile.is_zipfile(path) else _read_stream(path, file)
        return _Arrays(path).of(whole)
    except UserError as error:
        raise UserError(
            f"{path} can't be opened safely: {error}. Ask its maker for a .safetensors file."
        ) from error
    except Exception as error:  # what pickle and zipfile raise for bytes that are anything
        raise UserError(
            f"{path} is no whole PyTorch file: {type(error).__name__} {error}."
        ) from error


def _read_archive(path: Path) -> Any:
    storages: dict[str, _Storage] = {}
    unpacking.check_archive(path)
    with zipfile.ZipFile(path) as archive:
        found = [
            name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl")
        ]
        if len(found) != 1:
            raise UserError(
                "the archive has no data.pkl, as TorchScript and other archives haven't"
            )
        folder = found[0].removesuffix("data.pkl")
        if (
            f"{folder}byteorder" in archive.namelist()
            and archive.read(f"{folder}byteorder") != b"little"
        ):
            raise UserError("its numbers are big-endian")
        whole = _Unpickler(io.BytesIO(archive.read(found[0])), storages).load()
        for key, storage in storages.items():
            storage.bytes = archive.read(f"{folder}data/{key}")
    return whole


def _read_stream(path: Path, file: io.BufferedIOBase) -> Any:
    storages: dict[str, _Storage] = {}
    plain = lambda: _Unpickler(file, {}).load()
    if (plain(), plain()) != (_MAGIC, _PROTOCOL):
        raise UserError("it doesn't begin as PyTorch's files do")
    if not plain().get("little_endian", True):
        raise UserError("its numbers are big-endian")
    whole = _Unpickler(file, storages).load()
    for key in plain():
        storage = storages[str(key)]
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise UserError("a storage has another size than its tensors say")
        if storage.size * storage.dtype.itemsize > path.stat().st_size:
            raise UserError("a storage is larger than the file")
        storage.bytes = file.read(storage.size * storage.dtype.itemsize)
    return whole


class _Arrays:
    """Tensors as arrays, inside what they lie in; each object once, however often it is named.

    Args:
        path: of the file, whose size bounds what its tensors may take together.
    """

    def __init__(self, path: Path):
        self._path, self._total = path, 0
        self._done: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """What stands for a value.

        Raises:
            UserError: for tensors that are larger than the file may unpack into.
        """
        if not isinstance(value, _Tensor | dict | list | tuple):
            return value
        if id(value) not in self._done:
            # The value is kept, too, so that its id stays its own.
            self._done[id(value)] = (value, self._made(value))
        return self._done[id(value)][1]

    def _made(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.of(inner) for key, inner in value.items()}
        if not isinstance(value, _Tensor):
            return [self.of(inner) for inner in value]
        self._total += math.prod(value.shape) * value.storage.dtype.itemsize
        unpacking.check_bytes(self._path, self._total)
        return value.array()
