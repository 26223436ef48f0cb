"""The folder that an export leaves: programs, weights, a JSON that says how they go together, and
thirty lines that run them.

In timm's style there are no programs but weights by timm's names, one file a length, and a PyTorch
module that takes them.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax import config as configs
from vintk_jax import system_errors
from vintk_jax.adaptive.assigner import Assigner, FeatureAssigner
from vintk_jax.data.images import MEAN, STD
from vintk_jax.errors import UserError, first_of
from vintk_jax.exporting import timm
from vintk_jax.exporting.programs import FORMATS as PROGRAMS
from vintk_jax.exporting.programs import PLATFORMS, Program
from vintk_jax.inference.predictor import Predictor

MODEL, WEIGHTS, LOADER, TIMM_LOADER = "model.json", "weights.npz", "load.py", "timm_model.py"
TIMM = "timm"
_OURS = ("programs", "lengths", "classes", "formats")  # what every model.json of ours has
_COMPILED = "__pycache__"  # Python leaves it where a loader has been imported
FORMATS = (*PROGRAMS, TIMM)


def write(
    folder: Path,
    predictor: Predictor,
    assigner: Assigner | None,
    programs: dict[str, Program],
    about: dict[str, Any],
    formats: Sequence[str] = FORMATS[:1],
) -> None:
    """Write the whole folder, or nothing: readers see the one before or the new one.

    Arrays that several programs use (all lengths share most of theirs) are stored once. model.json
    has a checksum of each file; by these a later export knows what it may replace.

    Args:
        about: what else model.json says.
        formats: of the programs, some of `FORMATS`.

    Raises:
        UserError: for a folder that holds something other than an export or that can't be
            replaced, another format, or one that can't be written of this model.
    """
    if not formats or not set(formats) <= set(FORMATS):
        raise UserError(f"formats={tuple(formats)} came; some of {', '.join(FORMATS)} were wanted.")
    folder = check(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        arrays: dict[str, np.ndarray] = {}
        described: dict[str, dict[str, Any]] = {}
        for name, program in programs.items():
            own = {_name_of(leaf): leaf for leaf in map(np.asarray, program.weights)}
            described[name] = (
                {"weights": [_name_of(np.asarray(leaf)) for leaf in program.weights]}
                if "stablehlo" in formats
                else {}
            )
            arrays |= own if "stablehlo" in formats else {}
            for form in [form for form in formats if form != TIMM]:
                file = f"{name}.{form}"
                (aside / file).write_bytes(getattr(program, form)())
                described[name][form] = file
        if TIMM in formats:
            _write_timm(aside, predictor, described)
        plan = {
            **about,
            "mean": MEAN.tolist(),
            "std": STD.tolist(),
            "classes": list(predictor.classes),
            "shape": list(predictor.shape),
            "lengths": list(reversed(predictor.names)),
            "formats": list(formats),
            "platforms": list(PLATFORMS),
            "start": _first_length(predictor, assigner),
            "keep": assigner.earlier_weight if assigner else 0.0,
            "programs": described,
        }
        if set(formats) & set(PROGRAMS):
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)
            (aside / WEIGHTS).write_bytes(buffer.getvalue())
            _copy(LOADER, aside)
        plan["files"] = sorted([*(path.name for path in aside.iterdir()), MODEL])
        plan["checksums"] = {path.name: _checksum(path) for path in sorted(aside.iterdir())}
        plan["checksums"][MODEL] = _checksum_of_plan(plan)
        configs.write_json(aside / MODEL, plan)
        aside.chmod(0o755)
        _replace(folder, aside)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


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
    """What is in a folder that no export has written, as it is there; in order."""
    files, sums = _written(folder)
    found = []
    for path in folder.iterdir():
        if path.name == _COMPILED and path.is_dir() and not path.is_symlink():
            inside = [child for child in path.iterdir() if not _is_compiled(child)]
            found += [f"{_COMPILED}/{child.name}" for child in inside]
        elif path.name not in files or not _is_plain(path):
            found.append(path.name)
        elif sums is not None and _sum_of(path) != sums.get(path.name):
            found.append(f"{path.name} (changed since the export)")
    return sorted(found)


def _is_plain(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _is_compiled(path: Path) -> bool:
    return path.suffix == ".pyc" and _is_plain(path)


def _written(folder: Path) -> tuple[set[str], dict[str, str] | None]:
    """The files that the export in a folder has written, by its own list, and their checksums; no
    files if it is none, and None for checksums of an export from before there were any.

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
    """The checksum of a file of an export; of model.json, that of what it says."""
    return (
        _checksum_of_plan(json.loads(path.read_text())) if path.name == MODEL else _checksum(path)
    )


def _checksum(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum_of_plan(plan: dict[str, Any]) -> str:
    """Of all that model.json says but this checksum itself."""
    plan = json.loads(json.dumps(plan))
    plan["checksums"].pop(MODEL, None)
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()


def _replace(folder: Path, made: Path) -> None:
    """Give what was made the folder's name; what had it before is removed afterwards.

    What came into the folder while the export was made is refused as ever.

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


def _write_timm(folder: Path, predictor: Predictor, described: dict[str, dict[str, Any]]) -> None:
    """A file of weights for each length, and what `timm_model.create_model` reads of it."""
    for name in predictor.names:
        one, file = predictor.length(name), f"{name}.safetensors"
        sides = timm.sizes(one)
        (folder / file).write_bytes(timm.safetensors(one))
        described.setdefault(name, {}).update(
            {
                TIMM: file,
                "timm_sizes": sides,
                "input_size": [side * sides["patch_size"] for side in sides["grid"]],
            }
        )
    _copy(TIMM_LOADER, folder)


def _copy(loader: str, folder: Path) -> None:
    (folder / loader).write_text(
        resources.files("vintk_jax.exporting").joinpath(loader).read_text()
    )


def _first_length(predictor: Predictor, assigner: Assigner | None) -> int:
    """The length that comes first where no stage reads images: the assigner's; without one, the
    longest.
    """
    if isinstance(assigner, FeatureAssigner):
        return assigner.start
    return len(predictor.names) - 1


def _name_of(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.shape} {array.dtype}".encode() + array.tobytes()).hexdigest()[
        :16
    ]
