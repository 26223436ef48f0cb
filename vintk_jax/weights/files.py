"""Opening a file of weights, of whatever kind, by what is in it: names and arrays."""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from vintk_jax import unpacking
from vintk_jax.errors import UserError
from vintk_jax.weights.torch_file import Opaque, read_torch

_INSIDE = ("model", "state_dict")  # where a checkpoint keeps the model's weights
_AVERAGED = ("model_ema", "state_dict_ema", "ema")  # and a running mean of them
_IN_FOLDER = ("model.safetensors", "pytorch_model.bin")  # what Hugging Face calls it


@dataclasses.dataclass(frozen=True)
class Opened:
    """A file of weights.

    Attributes:
        arrays: by the name that the file has for each.
        settings: of the training, where the file carries them.
        notes: what there is to say about it: which weights were taken of several, and arrays that
            hold no numbers.
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
        UserError: for a file that isn't there, isn't whole, or is of another kind.
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
    if zipfile.is_zipfile(path) and any(
        name.endswith(".npy") for name in zipfile.ZipFile(path).namelist()
    ):
        arrays = _read_npz(path)
    elif start[8:] == b"{":
        arrays = _read_safetensors(path)
    elif start[:2] == b"PK" or start[:1] == b"\x80":
        arrays, settings = _state_of(read_torch(path), path, averaged, notes)
    else:
        raise UserError(f"{path} is no .safetensors, .pth or .npz file: it begins with {start!r}.")
    arrays = {name.removeprefix("module."): _widened(array) for name, array in arrays.items()}
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        notes.append(
            f"{path} holds NaN or infinite numbers in {', '.join(bad[:5])}{more}; a model with "
            "them answers NaN."
        )
    return Opened(path, arrays, settings, _described(path), tuple(notes))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        unpacking.check_archive(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except UserError:
        raise
    except Exception as error:  # NumPy and zipfile raise many types
        raise UserError(
            f"{path} is no whole .npz of plain arrays: {type(error).__name__} {error}."
        ) from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.flax import load_file  # the NumPy one doesn't know bfloat16

    try:
        return {name: np.asarray(array) for name, array in load_file(path).items()}
    except Exception as error:  # safetensors raises types of its own
        raise UserError(
            f"{path} is no whole .safetensors file: {type(error).__name__} {error}."
        ) from error


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
                f"{path} has no weights: it holds {', '.join(map(str, whole)) or 'nothing'}; "
                f"{' or '.join(_INSIDE)} was wanted."
            )
        whole = inside
    if not isinstance(whole, dict):
        raise UserError(
            f"{path} holds a {type(whole).__name__}; weights by name were wanted (a state_dict)."
        )
    return {
        str(name): value for name, value in whole.items() if isinstance(value, np.ndarray)
    }, settings


def _holds_weights(value: Any) -> bool:
    """Whether something in a checkpoint is a dictionary that isn't empty; a decay rate, say, may
    have the name of one.
    """
    return isinstance(value, dict) and bool(value)


def _widened(array: np.ndarray) -> np.ndarray:
    """In float32; NumPy stores bfloat16, which it doesn't know, as two bytes of anything."""
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:
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
