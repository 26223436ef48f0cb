"""Files of named arrays, .npz and .safetensors. What is in them is checked before it is read."""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax import system_errors, unpacking
from vintk_jax.errors import UserError, first_of

_ARRAY = ".npy"  # what a member of an npz that is an array ends with
_SAFETENSORS = {  # its types that NumPy has, or ml_dtypes
    *("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"),
    *("F16", "BF16", "F32", "F64"),
}


def is_npz(path: Path) -> bool:
    """Whether a zip archive holds arrays of NumPy.

    Raises:
        UserError: for an archive whose list of members is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(_ARRAY) for name in archive.namelist())
    except Exception as error:  # zipfile raises many types for bytes that are anything
        raise_passing(error)
        raise UserError(
            f"Expected a whole zip archive (an .npz or .pth file) in {path}, got a damaged list of "
            f"its members ({type(error).__name__} {error}). Download it again."
        ) from error


def read_npz(path: Path, notes: list[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name. Texts are left out and noted.

    Raises:
        UserError: for an archive that isn't whole, and arrays of anything but real numbers.
    """
    try:
        types = unpacking.check_archive(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
        once_each(((member, member.removesuffix(_ARRAY)) for member in members), path)
        texts = [member for member in members if member not in types or types[member].kind in "US"]
        arrays = [member for member in members if member not in texts]
        for member in arrays:
            check_numbers(path, member.removesuffix(_ARRAY), types[member])
        if texts:
            names = [member.removesuffix(_ARRAY) for member in texts]
            notes.append(f"{path} holds texts, which were left out: {first_of(names)}.")
        with np.load(path, allow_pickle=False) as file:
            return {member.removesuffix(_ARRAY): file[member] for member in arrays}
    except UserError:
        raise
    except Exception as error:  # NumPy and zipfile raise many types
        raise_passing(error)
        raise UserError(
            f"{path} is no whole .npz of plain arrays: {type(error).__name__} {error}."
        ) from error


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file by name.

    Raises:
        UserError: for a file that isn't whole, and arrays of anything but real numbers.
    """
    from safetensors.flax import load_file  # the NumPy one doesn't know bfloat16

    try:
        _check_safetensors(path)
        return {name: np.asarray(array) for name, array in load_file(path).items()}
    except UserError:
        raise
    except Exception as error:  # safetensors raises types of its own
        raise_passing(error)
        raise UserError(
            f"{path} is no whole .safetensors file: {type(error).__name__} {error}."
        ) from error


def _check_safetensors(path: Path) -> None:
    """Names and types, by the header: its length in 8 bytes, and a JSON.

    Raises:
        UserError: for a type that isn't known here, and two arrays of one name.
        ValueError: for a header that can't be read.
    """
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size - 8:
            raise ValueError(f"its header of {length:,} bytes reaches beyond the file")
        header = file.read(length)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        once_each(((name, name) for name, _ in pairs), path)
        return dict(pairs)

    for name, described in json.loads(header, object_pairs_hook=once).items():
        if name != "__metadata__" and described["dtype"] not in _SAFETENSORS:
            raise _unsupported(path, name, str(described["dtype"]))


def once_each(names: Iterable[tuple[Any, str]], path: Path) -> dict[str, Any]:
    """What each name stands for.

    Args:
        names: pairs of what the file calls something, and the name that it gets here.

    Raises:
        UserError: for two of one name, of which one would be lost.
    """
    by_name: dict[str, Any] = {}
    for original, name in names:
        if name in by_name:
            raise UserError(
                f"Expected each weight once in {path}, got {by_name[name]!r} and {original!r}, "
                f"which are both {name}. Save it without one of them."
            )
        by_name[name] = original
    return by_name


def check_numbers(path: Path, name: str, dtype: np.dtype) -> None:
    """Check that an array holds real numbers. NumPy doesn't know bfloat16 and stores it as two
    bytes of anything.

    Raises:
        UserError: naming the array, if not.
    """
    stored = dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None
    if dtype.kind not in "fiub" and not stored:
        raise _unsupported(path, name, str(dtype))


def _unsupported(path: Path, name: str, kind: str) -> UserError:
    return UserError(
        f"Expected real numbers in {path} (float, int or bool, of types that NumPy has), got "
        f"{name} of the type {kind}, which isn't supported. Save it as float32, or leave it out."
    )


def raise_passing(error: Exception) -> None:
    """What the system refused says nothing about the file.

    Raises:
        OSError: the error, if it is one that may pass.
    """
    if isinstance(error, OSError) and system_errors.may_pass(error):
        raise error
