"""The terminal that commands print to."""

from typing import Any

from rich.console import Console


def make_console(**options: Any) -> Console:
    """A console that prints text as it is: a path such as runs/[v2] is no markup."""
    return Console(markup=False, emoji=False, **options)
