"""Tables of trained accuracies: architectures first, accuracies only once they are scored."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vintk_jax import spaces
from vintk_jax.errors import UserError
from vintk_jax.spaces import SearchSpace

FORMAT = (
    'a JSON object with "space" and "rows": [{"arch": {...}, "accuracy": {name: percent or '
    "null}}, ...]"
)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table, or a sample of its rows.

    Attributes:
        name: of the table, or of its file.
        rows: numbers of the rows in the file.
        archs: one architecture a row.
    """

    name: str
    space: SearchSpace
    rows: tuple[int, ...]
    archs: tuple[Any, ...]
    _accuracies: tuple[dict, ...]

    def accuracies(self) -> dict[str, Float[np.ndarray, " architectures"]]:
        """By name, in percent. NaN where none was measured."""
        names = dict.fromkeys(name for accuracy in self._accuracies for name in accuracy)
        values = {name: [accuracy.get(name) for accuracy in self._accuracies] for name in names}
        return {
            name: np.array([np.nan if v is None else v for v in column], float)
            for name, column in values.items()
        }


def load(path: str, num_architectures: int, seed: int) -> Table:
    """Read a table.

    Args:
        num_architectures: a sample of that many rows, drawn by the seed; 0, or more than there are,
            takes all.

    Raises:
        UserError: for a file that isn't there or isn't such a table, naming the row at fault.
    """
    file = Path(path).expanduser()
    if not path or not file.is_file():
        fault = f"but there is no such file as {path!r}" if path else "got none"
        raise UserError(f"Expected a table, {fault}. Name one: --config.table=FILE, {FORMAT}.")
    try:
        content = json.loads(file.read_text())
        rows = [(row["arch"], row["accuracy"]) for row in content["rows"]]
        space = spaces.get(content["space"])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"Expected a table of accuracies in {file}, {FORMAT}, got {type(error).__name__}: "
            f"{error}."
        ) from error
    if len(rows) < 3:
        raise UserError(f"Expected three rows at least in {file}, got {len(rows)}.")
    if num_architectures < 0 or num_architectures in (1, 2):
        raise UserError(
            "Expected num_architectures to be 0 for all rows, or three at least, got "
            f"{num_architectures}."
        )
    chosen = range(len(rows))
    if num_architectures and num_architectures < len(rows):
        chosen = np.sort(
            np.random.default_rng(seed).choice(len(rows), num_architectures, replace=False)
        ).tolist()
    for i, (_, accuracy) in enumerate(rows):
        _check_accuracy(accuracy, f"{file}, row {i}")
    named = {name for _, accuracy in rows for name in accuracy}
    known = {name for _, accuracy in rows for name, value in accuracy.items() if value is not None}
    if known != named or not named:
        without = ", ".join(sorted(named - known)) or "any name"
        raise UserError(f"{file} has no accuracy for {without}. Fill it in, or leave it out.")
    archs = []
    for i in chosen:
        try:
            archs.append(space.from_json(rows[i][0]))
        except UserError as error:
            raise UserError(f"{file}, row {i}: {error}") from error
    return Table(
        content.get("table", file.stem),
        space,
        tuple(chosen),
        tuple(archs),
        tuple(rows[i][1] for i in chosen),
    )


def _check_accuracy(accuracy: Any, where: str) -> None:
    """Refuse what is no number, before hours of scoring."""
    if not isinstance(accuracy, dict):
        raise UserError(f"{where}: Expected accuracy as in {FORMAT}, got {accuracy!r}.")
    for name, value in accuracy.items():
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (plain and math.isfinite(value)):
            raise UserError(
                f"{where}: Expected the accuracy {name} to be a number of percent, or null where "
                f"none was measured, got {value!r}."
            )
