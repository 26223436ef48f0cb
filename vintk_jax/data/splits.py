"""The notation of splits and their parts: train, train[:90%], train[:40%]+train[60%:]."""

import re

from vintk_jax.data import folders
from vintk_jax.errors import UserError


def bounds(where: str, split: str, length: int) -> list[tuple[int, int]]:
    """Where the parts of a split of that length begin and end."""
    matches = [
        re.fullmatch(r"([^\[\]+]*)(?:\[(-?\d+%?)?:(-?\d+%?)?\])?", part)
        for part in split.split("+")
    ]
    if not all(matches) or len({match[1] for match in matches}) > 1:
        raise UserError(
            "Expected a split such as train, a part such as train[:90%], or parts of one split, "
            f"got {split!r}."
        )
    parts = []
    for match in matches:
        start = _bound(match[2], length, 0)
        stop = _bound(match[3], length, length)
        if start >= stop:
            raise UserError(
                f"The split {split!r} of {where} holds no images; {match[1]} has {length:,}."
            )
        parts.append((start, stop))
    return parts


def _bound(text: str | None, length: int, default: int) -> int:
    """The number that a text says: of an image, of one from the end, or a percentage."""
    if not text:
        return default
    number = round(int(text[:-1]) * length / 100) if text.endswith("%") else int(text)
    return min(max(number + length if number < 0 else number, 0), length)


def same_split(where: str, name: str, other: str) -> bool:
    """Whether two names are those of one split: of a folder, one may be written in several ways."""
    kind, _, path = where.partition(":")
    if name == other or kind not in ("folder", "clips", "pairs"):
        return name == other
    if folders.usual_names(name) == folders.usual_names(other):
        return True
    root = folders.folder(path, f"data.source={where}")
    first = folders.split_folder(root, name)
    second = folders.split_folder(root, other)
    return None not in (first, second) and first.resolve() == second.resolve()
