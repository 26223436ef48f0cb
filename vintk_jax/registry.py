"""Names to objects, with the user's own objects by import path."""

import importlib
from collections.abc import Mapping
from typing import Any

from vintk_jax.errors import UnknownName, nearest


class Registry:
    """A fixed set of named objects; a name with a colon is an import path instead,
    `package.module:attribute`.
    """

    def __init__(self, kind: str, entries: Mapping[str, Any]):
        self._kind = kind
        self._entries = dict(entries)

    def names(self) -> list[str]:
        """All names, in order of registration."""
        return list(self._entries)

    def get(self, name: str) -> Any:
        """The object of that name.

        Raises:
            UnknownName: for a name that is neither registered nor importable.
        """
        if name in self._entries:
            return self._entries[name]
        if ":" not in name:
            known = ", ".join(self._entries)
            raise UnknownName(
                f"Unknown {self._kind} {name!r}.{nearest(name, self._entries)} There are {known}; "
                "your own goes by import path, package.module:name."
            )
        module, _, attribute = name.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UnknownName(
                f"The {self._kind} {name!r} could not be imported: {error}. It is looked for on "
                "PYTHONPATH."
            ) from error
