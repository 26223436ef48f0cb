"""Errors that a person reads: what came, what was wanted, what to do. Commands print them without a
traceback and exit with 2.
"""

import difflib
from collections.abc import Iterable, Sequence


class UserError(ValueError):
    """A mistake in what the user asked for or gave, told in one message."""


class UnknownName(UserError):
    """A name that nothing is registered under."""


def nearest(name: str, known: Iterable[str]) -> str:
    """' Did you mean ...?' for the closest known name, or nothing when none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def first_of(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are, for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
