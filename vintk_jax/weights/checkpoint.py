"""The model's weights within what `torch.save` has written of a training."""

from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.weights.array_files import once_each
from vintk_jax.weights.unpickler import Opaque

_INSIDE = ("model", "state_dict")  # where a checkpoint keeps the model's weights
_AVERAGED = ("model_ema", "state_dict_ema", "ema")  # and a running mean of them


def weights_of(
    whole: Any, path: Path, averaged: bool, notes: list[str]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The weights by name, and the settings of the training beside them.

    Args:
        whole: what the file holds.
        averaged: whether the running mean is taken where there is one; which was taken is noted.

    Raises:
        UserError: for something without weights by name.
    """
    settings: dict[str, Any] = {}
    while isinstance(whole, dict) and not _has_arrays(whole):
        settings |= _settings_of(whole.get("args"))
        whole = _inside(whole, path, averaged, notes)
    if not isinstance(whole, dict):
        raise UserError(
            f"Expected weights by name (a state_dict) in {path}, got a {type(whole).__name__}."
        )
    names = [name for name, value in whole.items() if isinstance(value, np.ndarray)]
    by_name = once_each(((name, _shown(name)) for name in names), path)
    return {name: whole[original] for name, original in by_name.items()}, settings


def _has_arrays(values: dict) -> bool:
    return any(isinstance(value, np.ndarray) for value in values.values())


def _settings_of(args: Any) -> dict[str, Any]:
    """The settings of a training, as a checkpoint keeps them. Empty without any."""
    if isinstance(args, Opaque):
        return args.values
    return args if isinstance(args, dict) else {}


def _inside(whole: dict, path: Path, averaged: bool, notes: list[str]) -> dict:
    """The dictionary inside a checkpoint that the weights are in.

    Raises:
        UserError: where there is none.
    """
    plain = [name for name in _INSIDE if _holds_weights(whole.get(name))]
    means = [name for name in _AVERAGED if _holds_weights(whole.get(name))]
    names = [*means, *plain] if averaged else [*plain, *means]
    if means and plain:
        notes.append(
            f"{path} holds weights ({plain[0]}) and their running mean ({means[0]}); "
            f"{names[0]} was taken; averaged={not averaged} takes the other "
            "(--config.averaged, in training --config.model.weights_averaged)."
        )
    if not names:
        raise UserError(
            f"Expected weights in {path}, under {' or '.join(_INSIDE)}, got "
            f"{', '.join(map(_shown, whole)) or 'nothing'}."
        )
    return whole[names[0]]


def _shown(name: Any) -> str:
    """A key of a dictionary in words. One that is no text or number may be too long to be shown."""
    return str(name) if isinstance(name, str | int) else f"a {type(name).__name__}"


def _holds_weights(value: Any) -> bool:
    """Whether something in a checkpoint is a dictionary that isn't empty. A decay rate, say, may
    have the same name.
    """
    return isinstance(value, dict) and bool(value)
