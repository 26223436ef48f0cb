"""Which folder an export may replace, and replacing it: whatever no export has written stays."""

import errno
import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from vintk_jax import system_errors
from vintk_jax.errors import UserError, first_of

MODEL = "model.json"
WEIGHTS = "weights.npz"
LOADER = "load.py"
TIMM_LOADER = "timm_model.py"
_OURS = ("programs", "lengths", "classes", "formats")  # what every model.json of ours has
_COMPILED = "__pycache__"  # Python leaves it where a loader has been imported


def check(folder: Path) -> Path:
    """Where an export into this folder goes, if it may.

    Raises:
        UserError: for a folder that holds something other than an export, or that can't be
            replaced.
    """
    place = _place(folder)
    _check_ours(place)
    return place


def _place(folder: Path) -> Path:
    """Where the export goes, links followed: a link itself stays, its target is replaced.

    Raises:
        UserError: for links in a circle, and for the folder that the command runs in or one above
            it: a process can't stay where another folder takes its place.
    """
    place = Path(os.path.realpath(folder))
    if place.is_symlink():
        raise UserError(
            f"{folder} is a link that leads back to itself. Name a folder with --config.folder."
        )
    if Path.cwd().is_relative_to(place):
        raise UserError(
            f"Expected a folder of its own for the export, got {folder}, the folder that this "
            "command runs in or one above it. Name another with --config.folder, such as "
            f"{folder / 'export'}."
        )
    return place


def _check_ours(folder: Path, called: Path | None = None) -> None:
    """Refuse a folder that holds anything that no export of ours has written: it would be gone.

    Args:
        called: the name to tell, where it isn't the folder's.

    Raises:
        UserError: naming what it holds.
    """
    called = called or folder
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{called} is a file. Name a folder with --config.folder.")
    strange = _strange(folder)
    if strange:
        raise UserError(
            f"{called} holds {first_of(strange)}, which no export has written and which "
            "would be lost. Move it away, or choose another folder with --config.folder."
        )


def _strange(folder: Path) -> list[str]:
    """What a folder holds that no export has written, or that was changed since, in order."""
    files, sums = _written(folder)
    strange = []
    for path in folder.iterdir():
        if path.name == _COMPILED and path.is_dir() and not path.is_symlink():
            inside = [child for child in path.iterdir() if not _is_compiled(child)]
            strange += [f"{_COMPILED}/{child.name}" for child in inside]
        elif path.name not in files or not _is_plain(path):
            strange.append(path.name)
        elif sums is not None and _sum_of(path) != sums.get(path.name):
            strange.append(f"{path.name} (changed since the export)")
    return sorted(strange)


def _is_plain(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _is_compiled(path: Path) -> bool:
    return path.suffix == ".pyc" and _is_plain(path)


def _written(folder: Path) -> tuple[set[str], dict[str, str] | None]:
    """The files that the export in a folder has written, by its own list, and their checksums.

    No files where the folder is no export. None for the checksums of an export from before there
    were any.

    Raises:
        OSError: for one that may pass; it doesn't say what is there.
    """
    try:
        plan = json.loads((folder / MODEL).read_text())
        files = plan.get("files")
        if files is None:  # exports before 0.1 had no list
            programs = plan["programs"].values()
            named = [program.get(form) for program in programs for form in plan["formats"]]
            files = [MODEL, WEIGHTS, LOADER, TIMM_LOADER, *filter(None, named)]
        sums = plan.get("checksums")
        if not set(_OURS) <= set(plan) or not isinstance(sums, dict | None):
            return set(), None
        return set(files), sums
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        if system_errors.may_pass(error):
            raise
        return set(), None


def _sum_of(path: Path) -> str:
    """The checksum of a file of an export. That of model.json is of what it says."""
    return checksum_of_plan(json.loads(path.read_text())) if path.name == MODEL else checksum(path)


def checksum(path: Path) -> str:
    """Of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum_of_plan(plan: dict[str, Any]) -> str:
    """Of all that model.json says but this checksum itself."""
    plan = json.loads(json.dumps(plan))
    plan["checksums"].pop(MODEL, None)
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def replace(folder: Path, made: Path) -> None:
    """Give a new folder the name of an old one, and remove the old one afterwards.

    What came into the old folder while the export was made is refused, too.

    Raises:
        UserError: for a folder that can't be moved, as a mount point, or that has come to hold
            something else; it is left as it was.
    """
    before = None
    if folder.exists():
        before = made.with_name(f"{made.name}.before")
        try:
            os.replace(folder, before)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise UserError(
                f"{folder} is in use by the system, as a mount point is, and can't be replaced. "
                f"Name a folder in it with --config.folder, such as {folder / 'export'}."
            ) from error
    try:
        if before is not None:
            _check_ours(before, folder)
        os.replace(made, folder)
    except BaseException:
        if before is not None:
            os.replace(before, folder)
        raise
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)
