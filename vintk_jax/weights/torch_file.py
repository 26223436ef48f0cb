"""PyTorch's .pth files as NumPy arrays, without PyTorch and without executing what is in them.

Such a file is a pickle with numbers behind it. `unpickler` rebuilds what may be in the pickle. Both
layouts of `torch.save` are read: the archive (torch 1.6 and later) and the older stream.
"""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

from vintk_jax import unpacking
from vintk_jax.errors import UserError
from vintk_jax.weights.unpickler import Storage, Tensor, Unpickler, is_size

# What the older layout begins with.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


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
    storages: dict[str, Storage] = {}
    unpacking.check_archive(path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UserError(
                "the archive has no data.pkl, as TorchScript and other archives haven't"
            )
        folder = pickles[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in names and archive.read(order) != b"little":
            raise UserError("its numbers are big-endian")
        whole = Unpickler(io.BytesIO(archive.read(pickles[0])), storages).load()
        for key, storage in storages.items():
            storage.bytes = archive.read(f"{folder}data/{key}")
    return whole


def _read_stream(path: Path, file: io.BufferedIOBase) -> Any:
    storages: dict[str, Storage] = {}

    def plain() -> Any:
        return Unpickler(file, {}).load()

    if (plain(), plain()) != (_MAGIC, _PROTOCOL):
        raise UserError("it doesn't begin as PyTorch's files do")
    if not plain().get("little_endian", True):
        raise UserError("its numbers are big-endian")
    whole = Unpickler(file, storages).load()
    for key in plain():
        if not (isinstance(key, str) or is_size(key)) or str(key) not in storages:
            raise UserError("it has numbers of a storage that no tensor is made of")
        storage = storages[str(key)]
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise UserError("a storage has another size than its tensors say")
        if storage.size * storage.dtype.itemsize > path.stat().st_size:
            raise UserError("a storage is larger than the file")
        storage.bytes = file.read(storage.size * storage.dtype.itemsize)
    return whole


class _Arrays:
    """Tensors as arrays, inside the dictionaries and lists that they lie in. Each object is made
    once, however often it is named.

    Args:
        path: of the file, whose size bounds what its tensors may take together.
    """

    def __init__(self, path: Path):
        self._path = path
        self._total = 0
        self._done: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """What stands for a value.

        Raises:
            UserError: for tensors that are larger than the file may unpack into.
        """
        if not isinstance(value, Tensor | dict | list | tuple):
            return value
        if id(value) not in self._done:
            # The value is kept, too, so that its id stays its own.
            self._done[id(value)] = (value, self._made(value))
        return self._done[id(value)][1]

    def _made(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.of(inner) for key, inner in value.items()}
        if not isinstance(value, Tensor):
            return [self.of(inner) for inner in value]
        self._total += math.prod(value.shape) * value.storage.dtype.itemsize
        unpacking.check_bytes(self._path, self._total)
        return value.array()
