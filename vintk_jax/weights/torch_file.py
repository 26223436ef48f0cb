"""PyTorch's .pth files as NumPy arrays, without PyTorch and without executing what is in them.

Such a file is a pickle, which may name any function to be called as it is opened. Here a pickle
gets the few things that rebuild tensors; settings that checkpoints carry along become `Opaque`,
which does nothing; anything else is refused by name. A pickle may also set attributes on what it
gets, so each file has a class and functions of its own, and tensors and storages take none.

Sizes are checked before memory is taken (`unpacking`), and keys before they are hashed: a few
hundred bytes make a tuple within tuples whose hash takes years. The unpickler is therefore Python's
own in Python, which can be told to; the one in C can't.

Both layouts of `torch.save` are read: the archive (torch 1.6 and later) and the stream that was
before.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

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
_MOST_AXES = 64  # NumPy's
_MOST_IN_KEY = 1000  # our choice; weights have names, optimisers numbers
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


class _Fixed:
    """What a pickle can't change after it was made."""

    def __setstate__(self, state: Any) -> None:
        """Pickles set attributes so.

        Raises:
            UserError: always.
        """
        raise UserError("it changes numbers that it has made")


class _Type(_Fixed):
    """The type of a storage's numbers. NumPy's own could be called, with lists within lists."""

    def __init__(self, dtype: type):
        self.dtype = np.dtype(dtype)


class _Storage(_Fixed):
    """Numbers in a row, of one type; in the older layout they come after the tensors that are made
    of them.
    """

    def __init__(self, dtype: np.dtype, size: int):
        self.dtype, self.size, self.bytes = dtype, size, b""

    def array(self) -> np.ndarray:
        return np.frombuffer(self.bytes, self.dtype, self.size)


class _Tensor(_Fixed):
    """A view of a storage.

    Raises:
        UserError: for a shape, strides or an offset that are no numbers from 0 on, before they are
            reckoned with.
    """

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any):
        if not isinstance(storage, _Storage):
            raise UserError("a tensor is of something that is no storage of numbers")
        if (
            not _is_size(offset)
            or not _are_sizes(shape)
            or not _are_sizes(strides)
            or len(shape) != len(strides)
        ):
            raise UserError(
                "a tensor's shape, strides or offset are no whole numbers from 0 on, one of each "
                f"for each of at most {_MOST_AXES} axes"
            )
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> np.ndarray:
        extent = self.offset + (
            sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)) + 1
            if all(self.shape)
            else 0
        )
        if (
            extent > self.storage.size
            or len(self.storage.bytes) < self.storage.size * self.storage.dtype.itemsize
        ):
            raise UserError("a tensor reaches beyond the numbers that are there")
        start = _Storage.array(self.storage)[self.offset :]
        steps = tuple(step * self.storage.dtype.itemsize for step in self.strides)
        return np.lib.stride_tricks.as_strided(start, self.shape, steps, writeable=False).copy()


def _is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**63


def _are_sizes(numbers: Any) -> bool:
    """Whether it's a tuple of sizes; each is looked at, none reckoned with."""
    return isinstance(numbers, tuple) and len(numbers) <= _MOST_AXES and all(map(_is_size, numbers))


def _check_keys(keys: Iterable[Any]) -> None:
    """Whether keys may be hashed and compared: texts, numbers, small tuples of them, and whatever
    is known by its place in memory.

    Raises:
        UserError: for others, and for larger ones.
    """
    for key in keys:
        if type(key) is str:
            continue
        waiting, seen = [key], 0
        while waiting:
            one = waiting.pop()
            seen += 1 + (one.bit_length() // 64 if isinstance(one, int) else 0)
            if isinstance(one, tuple):
                seen += len(one)
            if seen > _MOST_IN_KEY:
                raise UserError(
                    f"it has a key of more than {_MOST_IN_KEY} parts in a dictionary or set"
                )
            if isinstance(one, tuple):
                waiting += one
            elif not isinstance(one, str | bytes | int | float | None | Opaque | _Fixed):
                raise UserError(f"it has a {type(one).__name__} as a key in a dictionary or set")


class _Unpickler(pickle._Unpickler):
    """Knows tensors, dictionaries and settings; checks what it hashes."""

    dispatch: ClassVar[dict[int, Callable]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BufferedIOBase, storages: dict[str, _Storage]):
        super().__init__(file, encoding="latin1")
        self._storages = storages
        self._setting = type("Setting", (Opaque,), {})

        def tensor(*arguments: Any) -> _Tensor:
            return _Tensor(*arguments)

        def parameter(data: Any, *_: Any) -> Any:
            return data

        def ordered(pairs: Any = ()) -> OrderedDict:
            pairs = [(key, value) for key, value in pairs]
            _check_keys(key for key, _ in pairs)
            return OrderedDict(pairs)

        self._types = {name: _Type(dtype) for name, dtype in _DTYPES.items()}
        self._known = {
            "collections.OrderedDict": ordered,
            "torch._utils._rebuild_tensor_v2": tensor,
            "torch._utils._rebuild_parameter": parameter,
        }

    def find_class(self, module: str, name: str) -> Any:
        # Pickles of protocol 2, which torch.save writes, call it as Python 2 did.
        module = "builtins" if module == "__builtin__" else module
        full = f"{module}.{name}"
        if full in self._known:
            return self._known[full]
        if module in ("torch", "torch.cuda") and name in _DTYPES:
            return self._types[name]
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
            or not isinstance(pid[1], _Type)
            or not (isinstance(pid[2], str) or _is_size(pid[2]))
            or not _is_size(pid[4])
        ):
            raise UserError("it refers to something that is no storage of numbers")
        if len(pid) > 5 and pid[5] is not None:
            raise UserError(
                "its storages are views of each other, as in PyTorch before 0.4; save it anew with "
                "a later one"
            )
        storage = self._storages.setdefault(str(pid[2]), _Storage(pid[1].dtype, pid[4]))
        if (storage.dtype, storage.size) != (pid[1].dtype, pid[4]):
            raise UserError(f"its storage {pid[2]} is of two types or sizes")
        return storage

    def _set_item(self) -> None:
        _check_keys(self.stack[-2:-1])
        pickle._Unpickler.dispatch[pickle.SETITEM[0]](self)

    def _set_items(self) -> None:
        _check_keys(self.stack[::2])
        pickle._Unpickler.dispatch[pickle.SETITEMS[0]](self)

    def _make_dict(self) -> None:
        _check_keys(self.stack[::2])
        pickle._Unpickler.dispatch[pickle.DICT[0]](self)

    def _add_items(self) -> None:
        _check_keys(self.stack)
        pickle._Unpickler.dispatch[pickle.ADDITEMS[0]](self)

    def _make_frozenset(self) -> None:
        _check_keys(self.stack)
        pickle._Unpickler.dispatch[pickle.FROZENSET[0]](self)

    dispatch[pickle.SETITEM[0]] = _set_item
    dispatch[pickle.SETITEMS[0]] = _set_items
    dispatch[pickle.DICT[0]] = _make_dict
    dispatch[pickle.ADDITEMS[0]] = _add_items
    dispatch[pickle.FROZENSET[0]] = _make_frozenset


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

    def plain() -> Any:
        return _Unpickler(file, {}).load()

    if (plain(), plain()) != (_MAGIC, _PROTOCOL):
        raise UserError("it doesn't begin as PyTorch's files do")
    if not plain().get("little_endian", True):
        raise UserError("its numbers are big-endian")
    whole = _Unpickler(file, storages).load()
    for key in plain():
        if not (isinstance(key, str) or _is_size(key)) or str(key) not in storages:
            raise UserError("it has numbers of a storage that no tensor is made of")
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
