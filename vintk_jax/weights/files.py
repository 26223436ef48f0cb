"""Opening a file of weights, of whatever kind, by what is in it: names and arrays."""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from vintk_jax.errors import UserError, first_of
from vintk_jax.weights.array_files import (
    check_numbers,
    is_npz,
    once_each,
    read_npz,
    read_safetensors,
)
from vintk_jax.weights.checkpoint import weights_of
from vintk_jax.weights.torch_file import read_torch

_WRAPPED = "module."  # what PyTorch's DataParallel puts ahead of every name
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
    """Names and arrays of a .safetensors, .pth (.pt, .bin) or .npz file. The kind is told by the
    contents, and nothing in the file is executed.

    Args:
        where: the file, or a folder that was downloaded from Hugging Face.
        averaged: whether the running mean of the weights is taken where a checkpoint has both, as
            timm does.

    Raises:
        UserError: for a file that isn't there, isn't whole, or is of another kind; for arrays of
            anything but real numbers, and two of one name.
    """
    path = _path_of(where)
    with open(path, "rb") as file:
        start = file.read(9)
    settings: dict[str, Any] = {}
    notes: list[str] = []
    is_zip = zipfile.is_zipfile(path)
    if start[:2] == b"PK" and not is_zip:
        raise UserError(
            f"Expected a whole zip archive (an .npz or .pth file) in {path}, got one without its "
            "end. Download it again."
        )
    if is_zip and is_npz(path):
        arrays = read_npz(path, notes)
    elif start[8:] == b"{":
        arrays = read_safetensors(path)
    elif is_zip or start[:1] == b"\x80":
        arrays, settings = weights_of(read_torch(path), path, averaged, notes)
    else:
        raise UserError(f"{path} is no .safetensors, .pth or .npz file: it begins with {start!r}.")
    names = once_each(((name, name.removeprefix(_WRAPPED)) for name in arrays), path)
    arrays = {name: _as_float32(path, name, arrays[wrapped]) for name, wrapped in names.items()}
    bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    if bad:
        notes.append(
            f"{path} holds NaN or infinite numbers in {first_of(bad)}; a model with them "
            "answers NaN."
        )
    return Opened(path, arrays, settings, _described(path), tuple(notes))


def _path_of(where: str | Path) -> Path:
    """The file of weights that was named, or that lies in the folder that was named.

    Raises:
        UserError: where there is none.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        there = [path / name for name in _IN_FOLDER if (path / name).is_file()]
        if not there:
            raise UserError(
                f"{path} is a folder without {' or '.join(_IN_FOLDER)}; name the file of weights."
            )
        path = there[0]
    if not path.is_file():
        raise UserError(
            f"There is no file of weights {path}. Download it first; nothing is fetched here."
        )
    return path


def _as_float32(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """In float32.

    Raises:
        UserError: for an array of anything but real numbers.
    """
    check_numbers(path, name, array.dtype)
    if array.dtype.kind == "V":
        array = array.view(ml_dtypes.bfloat16)
    return np.asarray(array, np.float32)


def _described(path: Path) -> dict[str, Any]:
    """What the JSON files beside the weights say of the model."""
    values: dict[str, Any] = {}
    for name in ("config.json", "preprocessor_config.json"):
        try:
            content = json.loads((path.parent / name).read_text())
        except (OSError, ValueError):
            continue
        values |= content if isinstance(content, dict) else {}
    return values
