"""Which files of a folder belong to a data set: one rule for all commands.

docs/your_data.md tells the rule. Hidden files and folders (a name that begins with a dot) and
`__MACOSX` are left out. Links are followed, and no folder is entered twice. Frames are in the
natural order of their names, 2 before 10. Names may hold any bytes.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import natsort

from vintk_jax.errors import UserError, first_of

# ImageNet's, as everyone uses them
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
ENDINGS = ", ".join(sorted(SUFFIXES))
LEFT_OUT = {"__MACOSX"}
# What people call the parts of a data set, by what our settings call them; in any case.
SPLITS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}


def path_of(where: str, asked: str) -> Path:
    """A path that a person wrote, with ~ filled in.

    Args:
        asked: the setting that named it, for the error.

    Raises:
        UserError: for what can't be a path.
    """
    if "\0" in where:
        raise UserError(f"Expected a path without a NUL, got {asked!r}.")
    try:
        return Path(where).expanduser()
    except RuntimeError as error:  # ~name without such a person
        raise UserError(f"Expected a path in {asked}, but {error}.") from error


def folder(where: str, asked: str) -> Path:
    """An existing folder.

    Args:
        asked: the setting that named it, for the error.

    Raises:
        UserError: when there is none.
    """
    root = path_of(where, asked)
    if not root.is_dir():
        what = "a file in place of the folder" if root.exists() else "no folder"
        raise UserError(f"Expected a folder for {asked}, but there is {what} {root.resolve()}.")
    return root


def belongs(name: str) -> bool:
    """Whether a file or folder of that name is looked at."""
    return not name.startswith(".") and name not in LEFT_OUT


def natural(paths: Sequence[Path]) -> list[Path]:
    """In the natural order of their names: frame 2 before frame 10."""
    return natsort.natsorted(paths, key=readable)


def readable(path: Path | str) -> str:
    """A path as text that can be printed and written, whatever bytes its name holds."""
    return os.fsencode(path).decode(errors="backslashreplace")


def files_below(root: Path) -> list[Path]:
    """Image files anywhere below a folder, through links, in the order of their names."""
    return sorted(_below(root))


def frames_below(root: Path) -> list[Path]:
    """The same in natural order."""
    return natural(list(_below(root)))


def _below(root: Path) -> Iterator[Path]:
    entered = set()
    for where, folders, names in os.walk(root, followlinks=True):
        status = os.stat(where)
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if belongs(name))
        for name in names:
            known = os.path.splitext(name)[1].lower() in SUFFIXES
            if belongs(name) and known and _is_file(Path(where, name)):
                yield Path(where, name)


def _is_file(path: Path) -> bool:
    """Whether a name is that of a file, and not of a pipe or a device, which would be waited for. A
    link to nowhere counts as a file: whoever reads it says what is wrong.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def folders_in(root: Path) -> list[Path]:
    """The folders of a folder that belong to a data set, by name."""

    def name(folder: Path) -> bytes:
        return os.fsencode(folder.name)

    folders = [child for child in root.iterdir() if child.is_dir() and belongs(child.name)]
    return sorted(folders, key=name)


def split_folder(root: Path, split: str) -> Path | None:
    """The folder of a split: of its name, or of one that people usually give it, in any case.

    Raises:
        UserError: for two folders that are the split, and for a folder that holds nothing but the
            folder that was meant.
    """
    exact = root / split
    if exact.is_dir():
        return exact
    usual = usual_names(split)
    alike = [child for child in folders_in(root) if child.name.lower() in usual]
    if len(alike) > 1:
        names = " and ".join(readable(child.name) for child in alike)
        raise UserError(f"{readable(root)} has {names} for the split {split!r}. Name one.")
    if alike:
        return alike[0]
    for inner in folders_in(root):
        deeper = inner
        while True:
            if any(is_split(child.name) for child in folders_in(deeper)):
                raise UserError(
                    f"{readable(root)} has no folder for the split {split!r}, but its folder "
                    f"{readable(deeper.relative_to(root))} has splits. Name that: "
                    f"{readable(deeper)}."
                )
            below = folders_in(deeper)
            if len(below) != 1:
                break
            deeper = below[0]
    return None


def usual_names(split: str) -> tuple[str, ...]:
    """What people call a split, in small letters."""
    named = [usual for usual in SPLITS.values() if split.lower() in usual]
    return named[0] if named else (split.lower(),)


def below(root: Path, parts: str) -> Path | None:
    """A folder below another, its names in any case. None where there is none, or where two differ
    in case alone.
    """
    inner = root
    for part in parts.split("/"):
        exact = inner / part
        alike = [child for child in folders_in(inner) if child.name.lower() == part.lower()]
        if not exact.is_dir() and len(alike) != 1:
            return None
        inner = exact if exact.is_dir() else alike[0]
    return inner


def is_split(name: str) -> bool:
    """Whether a folder's name is a usual one of a split."""
    return any(name.lower() in usual for usual in SPLITS.values())


def classes_of(root: Path, top: Path) -> tuple[list[str], list[str]]:
    """Names of the class folders of a split, and of those without any image in any split, which
    are no classes.

    Args:
        root: of the data set.
        top: of the split; `root` itself where there are no splits.
    """
    splits = [top] if top == root else folders_in(root)
    names = []
    empty = []
    for child in folders_in(top):
        has_images = any(
            next(_below(split / child.name), None) is not None
            for split in splits
            if (split / child.name).is_dir()
        )
        (names if has_images else empty).append(child.name)
    return names, empty


def check_level(top: Path, classes: Sequence[str]) -> None:
    """Refuse a folder whose only class holds the folders of the classes: it is one level too high.

    Args:
        top: of a split.
        classes: names of its class folders.

    Raises:
        UserError: naming the folder that was meant.
    """
    if len(classes) != 1:
        return
    only = top / classes[0]
    inner = [child for child in folders_in(only) if next(_below(child), None) is not None]
    if len(inner) > 1:
        names = first_of([readable(child.name) for child in inner])
        raise UserError(
            f"{readable(top)} holds one class, {readable(classes[0])}, with folders in it: "
            f"{names}. If these are the classes, name the folder that holds them "
            f"({readable(only)}), or move them up."
        )


def differing(first: Sequence[str], second: Sequence[str], names: tuple[str, str]) -> str:
    """What two lists of classes don't share, in words."""
    parts = []
    for classes, others, name in ((first, second, names[0]), (second, first, names[1])):
        alone = [readable(one) for one in classes if one not in others]
        if alone:
            parts.append(f"only {name} has {first_of(alone)}")
    return "; ".join(parts) or "they are in another order"
