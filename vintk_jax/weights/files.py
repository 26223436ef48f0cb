"""Opening a file of weights, of whatever kind, by what is in it: names and arrays."""

import dataclasses
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from vintk_jax import system_errors, unpacking
from vintk_jax.errors import UserError
from vintk_jax.weights.torch_file import Opaque, read_torch

_INSIDE = ("model", "state_dict")  # where a checkpoint keeps the model's weights
_AVERAGED = ("model_ema", "state_dict_ema", "ema")  # and a running mean of them
_WRAPPED = "module."  # what PyTorch's DataParallel puts ahead of every name
_ARRAY = ".npy"  # what a member of an npz that is an array ends with
_SAFETENSORS = {  # its types that NumPy has, or ml_dtypes
    *("BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"),
    *("F16", "BF16", "F32", "F64"),
}
_IN_FOLDER = ("model.safetensors", "pytorch_model.bin")  # what Hugging Face calls it


@dataclasses.dataclass(frozen=True)
class Opened:
    """A file of weights.

    Attributes:
        arrays: by the name that the file has for each.
        settings: of the training, where the file carries them.
        notes: what there is to say about it: which weights were taken of several, texts that were
            left out, and arrays that hold no numbers.
        described: the JSON files beside it that say what the model is, put together: what Hugging
            Face and timm lay there.
    """

    path: Path
    arrays: dict[str, np.ndarray]
    settings: dict[str, Any]
    described: dict[str, Any]
    notes: tuple[str, ...] = ()


def open_weights(where: str | Path, averaged: bool = True) -> Opened:
    """Names and arrays of a .safetensors, .pth (.pt, .bin) or .npz file, told apart by contents;
    nothing in it is executed.

    Args:
        where: the file, or a folder that was downloaded from Hugging Face.
        averaged: whether the running mean of the weights is taken where a checkpoint has both, as
            timm does.

    Raises:
        UserError: for a file that isn't there, isn't whole, or is of another kind; for arrays of
            anything but real numbers, and two of one name.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        found = [path / name for name in _IN_FOLDER if (path / name).is_file()]
        if not found:
            raise UserError(
                f"{path} is a folder without {' or '.join(_IN_FOLDER)}; name the file of weights."
            )
        path = found[0]
    if not path.is_file():
        raise UserError(
            f"There is no file of weights {path}. Download it first; nothing is fetched here."
        )
    with open(path, "rb") as file:
        start = file.read(9)
    settings: dict[str, Any] = {}
    notes: list[str] = []
    if start[:2] == b"PK" and not zipfile.is_zipfile(path):
        raise UserError(
            f"Expected a whole zip archive (an .npz or .pth file) in {path}, got one without its "
            "end. Download it again."
        )
    if zipfile.is_zipfile(path) and _is_npz(path):
        arrays = _read_npz(path, notes)
    elif start[8:] == b"{":
        arrays = _read_safetensors(path)
    elif zipfile.is_zipfile(path) or start[:1] == b"\x80":
        arrays, settings = _state_of(read_torch(path), path, averaged, notes)
    else:
        raise UserError(f"{path} is no .safetensors, .pth or .npz file: it begins with {start!r}.")
    by_name = _by_name(((name, name.removeprefix(_WRAPPED)) for name in arrays), path)
    arrays = {name: _widened(path, before, arrays[before]) for name, before in by_name.items()}
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        notes.append(
            f"{path} holds NaN or infinite numbers in {_listed(bad)}; a model with them answers "
            "NaN."
        )
    return Opened(path, arrays, settings, _described(path), tuple(notes))


def _is_npz(path: Path) -> bool:
    """Whether a zip archive holds arrays of NumPy.

    Raises:
        UserError: for an archive whose list of members is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(_ARRAY) for name in archive.namelist())
    except Exception as error:  # zipfile raises many types for bytes that are anything
        _raise_passing(error)
        raise UserError(
            f"Expected a whole zip archive (an .npz or .pth file) in {path}, got a damaged list of "
            f"its members ({type(error).__name__} {error}). Download it again."
        ) from error


def _raise_passing(error: Exception) -> None:
    """What the system refused says nothing about the file.

    Raises:
        OSError: the error, if it is one that may pass.
    """
    if isinstance(error, OSError) and system_errors.may_pass(error):
        raise error


def _by_name(names: Iterable[tuple[Any, str]], path: Path) -> dict[str, Any]:
    """What each name stands for, of (what stands there, name).

    Raises:
        UserError: for two of one name, of which one would be lost.
    """
    found: dict[str, Any] = {}
    for before, name in names:
        if name in found:
            raise UserError(
                f"Expected each weight once in {path}, got {found[name]!r} and {before!r}, which "
                f"are both {name}. Save it without one of them."
            )
        found[name] = before
    return found


def _read_npz(path: Path, notes: list[str]) -> dict[str, np.ndarray]:
    try:
        types = unpacking.check_archive(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
        _by_name(((member, member.removesuffix(_ARRAY)) for member in members), path)
        texts = [member for member in members if member not in types or types[member].kind in "US"]
        kept = [member for member in members if member not in texts]
        for member in kept:
            _check_numbers(path, member.removesuffix(_ARRAY), types[member])
        if texts:
            names = [member.removesuffix(_ARRAY) for member in texts]
            notes.append(f"{path} holds texts, which were left out: {_listed(names)}.")
        with np.load(path, allow_pickle=False) as file:
            return {member.removesuffix(_ARRAY): file[member] for member in kept}
    except UserError:
        raise
    except Exception as error:  # NumPy and zipfile raise many types
        _raise_passing(error)
        raise UserError(
            f"{path} is no whole .npz of plain arrays: {type(error).__name__} {error}."
        ) from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.flax import load_file  # the NumPy one doesn't know bfloat16

    try:
        _check_safetensors(path)
        return {name: np.asarray(array) for name, array in load_file(path).items()}
    except UserError:
        raise
    except Exception as error:  # safetensors raises types of its own
        _raise_passing(error)
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
        _by_name(((name, name) for name, _ in pairs), path)
        return dict(pairs)

    for name, described in json.loads(header, object_pairs_hook=once).items():
        if name != "__metadata__" and described["dtype"] not in _SAFETENSORS:
            raise _no_numbers(path, name, str(described["dtype"]))


def _check_numbers(path: Path, name: str, dtype: np.dtype) -> None:
    """Whether an array holds real numbers; NumPy stores bfloat16, which it doesn't know, as two
    bytes of anything.

    Raises:
        UserError: naming the array, if not.
    """
    stored = dtype.kind == "V" and dtype.itemsize == 2 and dtype.names is None
    if dtype.kind not in "fiub" and not stored:
        raise _no_numbers(path, name, str(dtype))


def _no_numbers(path: Path, name: str, kind: str) -> UserError:
    return UserError(
        f"Expected real numbers in {path} (float, int or bool, of types that NumPy has), got "
        f"{name} of the type {kind}, which isn't supported. Save it as float32, or leave it out."
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


def _state_of(
    whole: Any, path: Path, averaged: bool, notes: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The model's weights within a checkpoint, and the settings beside them; which of several is
    noted.
    """
    settings: dict[str, Any] = {}
    while isinstance(whole, dict) and not any(
        isinstance(value, np.ndarray) for value in whole.values()
    ):
        given = whole.get("args")
        settings |= (
            given.values if isinstance(given, Opaque) else given if isinstance(given, dict) else {}
        )
        plain = [name for name in _INSIDE if _holds_weights(whole.get(name))]
        means = [name for name in _AVERAGED if _holds_weights(whole.get(name))]
        names = [*means, *plain] if averaged else [*plain, *means]
        inside = whole[names[0]] if names else None
        if means and plain:
            notes.append(
                f"{path} holds weights ({plain[0]}) and their running mean ({means[0]}); "
                f"{names[0]} was taken; averaged={not averaged} takes the other "
                "(--config.averaged, in training --config.model.weights_averaged)."
            )
        if inside is None:
            raise UserError(
                f"{path} has no weights: it holds {', '.join(map(_shown, whole)) or 'nothing'}; "
                f"{' or '.join(_INSIDE)} was wanted."
            )
        whole = inside
    if not isinstance(whole, dict):
        raise UserError(
            f"{path} holds a {type(whole).__name__}; weights by name were wanted (a state_dict)."
        )
    names = [name for name, value in whole.items() if isinstance(value, np.ndarray)]
    by_name = _by_name(((name, _shown(name)) for name in names), path)
    return {name: whole[before] for name, before in by_name.items()}, settings


def _shown(name: Any) -> str:
    """A key of a dictionary; one that is no text or number may be too long to be shown."""
    return str(name) if isinstance(name, str | int) else f"a {type(name).__name__}"


def _holds_weights(value: Any) -> bool:
    """Whether something in a checkpoint is a dictionary that isn't empty; a decay rate, say, may
    have the name of one.
    """
    return isinstance(value, dict) and bool(value)


def _widened(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """In float32.

    Raises:
        UserError: for an array of anything but real numbers.
    """
    _check_numbers(path, name, array.dtype)
    if array.dtype.kind == "V":
        array = array.view(ml_dtypes.bfloat16)
    return np.asarray(array, np.float32)


def _described(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("config.json", "preprocessor_config.json"):
        try:
            read = json.loads((path.parent / name).read_text())
        except (OSError, ValueError):
            continue
        found |= read if isinstance(read, dict) else {}
    return found
