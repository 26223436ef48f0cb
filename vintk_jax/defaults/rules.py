"""What the value of a field may be: a number of a range, a choice of words, a tuple of either.

A rule looks at one field alone. What fields have to do with each other, with data or with a model
is checked where that is known.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a field may be.

    Attributes:
        allows: whether a value is allowed. Any value gets an answer; NaN is never allowed.
        expected: what is expected, for messages and --help.
        choices: the words of a choice.
    """

    allows: Callable[[Any], bool]
    expected: str
    choices: tuple[str, ...] = ()


def number(
    low: int | float, high: int | float = math.inf, *, above: bool = False, infinite: bool = False
) -> Rule:
    """A number from low to high.

    Args:
        above: low itself is not allowed.
        infinite: infinity is allowed; it means that there is no limit.
    """

    def allows(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if value == math.inf:
            return infinite
        return (value > low if above else value >= low) and value <= high

    expected = _range("a number", low, high, above)
    return Rule(allows, f"{expected}, or inf" if infinite else expected)


def whole(low: int, high: int | float = math.inf) -> Rule:
    """A whole number from low to high; 3.0 is none."""

    def allows(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return Rule(allows, _range("a whole number", low, high, above=False))


def _range(kind: str, low: int | float, high: int | float, above: bool) -> str:
    """A range in words."""
    if high == math.inf:
        return f"{kind} above {low:,}" if above else f"{kind} of at least {low:,}"
    if above:
        return f"{kind} above {low:,} and of at most {high:,}"
    return f"{kind} from {low:,} to {high:,}"


def choice(*words: str) -> Rule:
    """One of some words."""

    def allows(value: Any) -> bool:
        return value in words

    named = [word or "''" for word in words]
    expected = " or ".join(named) if len(named) == 2 else f"one of {', '.join(named)}"
    return Rule(allows, expected, words)


def several(rule: Rule, things: str, least: int = 0, ascending: bool = False) -> Rule:
    """A tuple, each of whose values follows a rule.

    Args:
        things: what is in it.
        least: how many there are at least.
        ascending: no value is below the one before it.
    """

    def allows(value: Any) -> bool:
        if not isinstance(value, tuple | list) or len(value) < least:
            return False
        if not all(rule.allows(one) for one in value):
            return False
        return not ascending or list(value) == sorted(value)

    order = ", from small to large" if ascending else ""
    count = f", at least {least}" if least else ""
    return Rule(allows, f"a tuple of {things}{count}{order}, each {rule.expected}")


def exactly_or(value: Any, rule: Rule, expected: str) -> Rule:
    """One value that means something of its own, or what another rule allows."""

    def allows(given: Any) -> bool:
        return given == value or rule.allows(given)

    return Rule(allows, expected)


def _is_address(value: Any) -> bool:
    return value == "" or (isinstance(value, str) and "://" in value)


def _is_below_one(value: Any) -> bool:
    return SHARE.allows(value) and value < 1


def _is_half_to_below_one(value: Any) -> bool:
    return _is_below_one(value) and value >= 0.5


def _is_not_nan(value: Any) -> bool:
    return not (isinstance(value, float) and math.isnan(value))


COUNT = whole(1)
COUNT_OR_ZERO = whole(0)
AT_LEAST_TWO = whole(2)
POSITIVE = number(0, above=True)
NOT_NEGATIVE = number(0)
SHARE = number(0, 1)
SHARE_ABOVE_ZERO = number(0, 1, above=True)
SHARE_BELOW_ONE = Rule(_is_below_one, "a number from 0 to below 1")
HALF_TO_BELOW_ONE = Rule(_is_half_to_below_one, "a number from 0.5 to below 1")
# Seeds that NumPy and JAX both take.
SEED = whole(0, 2**32 - 1)
THREADS = whole(0, 1024)
PIXEL_VALUES = several(whole(0, 255), "whole numbers")
BATCH_SIZES = several(whole(1, 2**31), "numbers of images")
ADDRESS = Rule(_is_address, "'' or an address such as sqlite:///trials.db or postgresql://...")
# Texts, paths, names to import, True or False, and token lengths: where they are used it is known
# what they may be, and said.
CHECKED_WHERE_USED = Rule(_is_not_nan, "anything but nan")
