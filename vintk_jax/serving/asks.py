"""What a request asks for beside its images: a budget, or one length.

Words come from the query of an address, from the fields of a form, or from the parameters of the
Open Inference Protocol; each names one value, or one for every image.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from vintk_jax.errors import UserError, nearest

LONGEST = "longest"
NAMES = ("max_drop", "max_cost", "length", "top")


@dataclasses.dataclass(frozen=True)
class Ask:
    """How an image is to be treated; without any of it, by the service's own budget.

    Attributes:
        max_drop: percentage points that may be lost; max_cost: share of the longest length's
            multiply-adds.
        length: a length's name, or "longest".
    """

    max_drop: float | None = None
    max_cost: float | None = None
    length: str | None = None

    def __post_init__(self):
        if self.length is not None and (self.max_drop, self.max_cost) != (None, None):
            raise UserError("Expected a length or a budget, got both.")

    @property
    def words(self) -> dict[str, Any]:
        """What is asked for, as JSON has it."""
        found = dataclasses.asdict(self)
        # JSON has no infinity; a drop of more than 100 points is none.
        if found["max_drop"] is not None:
            found["max_drop"] = min(found["max_drop"], 1e9)
        return {name: value for name, value in found.items() if value is not None}


def asks_of(words: Mapping[str, Sequence[Any]], count: int) -> list[Ask]:
    """What is asked for each of so many images.

    Args:
        words: values by name, one for all images or as many as there are.

    Raises:
        UserError: for another name, another number of values, or a value that means nothing.
    """
    check_names(words)
    columns = {
        name: _for_each(name, [_READ[name](name, value) for value in values], count)
        for name, values in words.items()
        if name in _READ
    }
    if all(len(set(column)) == 1 for column in columns.values()):
        one = Ask(**{name: column[0] for name, column in columns.items()})
        return [one] * count
    return [Ask(**{name: column[i] for name, column in columns.items()}) for i in range(count)]


def check_names(words: Mapping[str, Any]) -> None:
    """Refuse what nobody knows.

    Raises:
        UserError: for another name than `NAMES`.
    """
    for name in words:
        if name not in NAMES:
            shown = name[:40]
            raise UserError(
                f"Expected one of {', '.join(NAMES)}, got {shown!r}.{nearest(shown, NAMES)}"
            )


def top_of(words: Mapping[str, Sequence[Any]], classes: int) -> int | None:
    """How many classes an answer names in falling order; None for all, in the model's order.

    Raises:
        UserError: for what is no such number.
    """
    values = words.get("top", ())
    if not values:
        return None
    text = str(values[0])[:20]
    if len(values) != 1 or not text.isascii() or not text.isdigit() or int(text) < 1:
        raise UserError(f"Expected one whole number of at least 1 for top, got {text!r}.")
    return min(int(text), classes)


def _for_each(name: str, values: list[Any], count: int) -> list[Any]:
    if len(values) == 1:
        return values * count
    if len(values) != count:
        raise UserError(
            f"Expected one {name}, or one for each of {count} images, got {len(values)}."
        )
    return values


def _number(name: str, value: Any) -> float:
    try:
        if isinstance(value, bool) or (isinstance(value, str) and len(value) > 40):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"Expected a number for {name}, got {str(value)[:40]!r}.") from error
    if math.isnan(number) or number < 0 or (name == "max_cost" and number == 0):
        least = "above 0" if name == "max_cost" else "of at least 0"
        raise UserError(f"Expected a number {least} for {name}, got {str(value)[:40]}.")
    return number


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 40:
        raise UserError(f"Expected the name of a length, got {str(value)[:40]!r}.")
    # In an address a plus stands for a space, and a length may be 16+40.
    return value.replace(" ", "+")


_READ = {"max_drop": _number, "max_cost": _number, "length": _name}
