"""Rebuilding what is in a PyTorch pickle without executing anything.

A pickle may name any function to be called as it is opened. Here it gets only the few things that
rebuild tensors. Settings that checkpoints carry along become `Opaque`, which does nothing. Anything
else is refused by name. A pickle may also set attributes on what it gets, so each file has a class
and functions of its own, and tensors and storages take none.

Sizes are checked before memory is taken (`unpacking`). Keys are checked before they are hashed: a
few hundred bytes make a tuple within tuples whose hash takes years. The unpickler is therefore
Python's own in Python, which can be told to do so. The one in C can't.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

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


class Storage(_Fixed):
    """Numbers in a row, of one type. In the older layout they come after the tensors that are made
    of them.
    """

    def __init__(self, dtype: np.dtype, size: int):
        self.dtype = dtype
        self.size = size
        self.bytes = b""

    def array(self) -> np.ndarray:
        return np.frombuffer(self.bytes, self.dtype, self.size)


class Tensor(_Fixed):
    """A view of a storage.

    Raises:
        UserError: for a shape, strides or an offset that are no numbers from 0 on, before they are
            reckoned with.
    """

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any):
        if not isinstance(storage, Storage):
            raise UserError("a tensor is of something that is no storage of numbers")
        if (
            not is_size(offset)
            or not _are_sizes(shape)
            or not _are_sizes(strides)
            or len(shape) != len(strides)
        ):
            raise UserError(
                "a tensor's shape, strides or offset are no whole numbers from 0 on, one of each "
                f"for each of at most {_MOST_AXES} axes"
            )
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides

    def array(self) -> np.ndarray:
        storage = self.storage
        extent = self.offset
        if all(self.shape):
            axes = zip(self.shape, self.strides, strict=True)
            extent += sum((n - 1) * step for n, step in axes) + 1
        missing_bytes = len(storage.bytes) < storage.size * storage.dtype.itemsize
        if extent > storage.size or missing_bytes:
            raise UserError("a tensor reaches beyond the numbers that are there")
        start = Storage.array(storage)[self.offset :]
        steps = tuple(step * storage.dtype.itemsize for step in self.strides)
        return np.lib.stride_tricks.as_strided(start, self.shape, steps, writeable=False).copy()


def is_size(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**63


def _are_sizes(numbers: Any) -> bool:
    """Whether something is a tuple of sizes. No arithmetic is done with them."""
    return isinstance(numbers, tuple) and len(numbers) <= _MOST_AXES and all(map(is_size, numbers))


def _check_keys(keys: Iterable[Any]) -> None:
    """Whether keys may be hashed and compared: texts, numbers, small tuples of them, and whatever
    is known by its place in memory.

    Raises:
        UserError: for others, and for larger ones.
    """
    for key in keys:
        if type(key) is str:
            continue
        waiting = [key]
        count = 0
        while waiting:
            part = waiting.pop()
            count += 1
            if isinstance(part, int):
                count += part.bit_length() // 64
            if isinstance(part, tuple):
                count += len(part)
            if count > _MOST_IN_KEY:
                raise UserError(
                    f"it has a key of more than {_MOST_IN_KEY} parts in a dictionary or set"
                )
            if isinstance(part, tuple):
                waiting += part
            elif not isinstance(part, str | bytes | int | float | None | Opaque | _Fixed):
                raise UserError(f"it has a {type(part).__name__} as a key in a dictionary or set")


class Unpickler(pickle._Unpickler):
    """Knows tensors, dictionaries and settings, and checks what it hashes."""

    dispatch: ClassVar[dict[int, Callable]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BufferedIOBase, storages: dict[str, Storage]):
        super().__init__(file, encoding="latin1")
        self._storages = storages
        self._setting = type("Setting", (Opaque,), {})

        def tensor(*arguments: Any) -> Tensor:
            return Tensor(*arguments)

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

    def persistent_load(self, pid: Any) -> Storage:
        if (
            not isinstance(pid, tuple)
            or len(pid) < 5
            or pid[0] != "storage"
            or not isinstance(pid[1], _Type)
            or not (isinstance(pid[2], str) or is_size(pid[2]))
            or not is_size(pid[4])
        ):
            raise UserError("it refers to something that is no storage of numbers")
        if len(pid) > 5 and pid[5] is not None:
            raise UserError(
                "its storages are views of each other, as in PyTorch before 0.4; save it anew with "
                "a later one"
            )
        storage = self._storages.setdefault(str(pid[2]), Storage(pid[1].dtype, pid[4]))
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
