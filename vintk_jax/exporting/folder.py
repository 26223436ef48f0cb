"""The folder that an export leaves: programs, weights, a JSON that says how they go together, and
thirty lines that run them.

In timm's style there are no programs but weights by timm's names, one file a length, and a PyTorch
module that takes them.
"""

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax import config as configs
from vintk_jax.adaptive.plans import Assigner
from vintk_jax.data.images import MEAN, STD
from vintk_jax.errors import UserError
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

    Arrays that several programs use (all lengths share most of theirs) are stored once.

    Args:
        about: what else model.json says.
        formats: of the programs, some of `FORMATS`.

    Raises:
        UserError: for a folder that holds something other than an export, another format, or one
            that can't be written of this model.
    """
    if not formats or not set(formats) <= set(FORMATS):
        raise UserError(f"formats={tuple(formats)} came; some of {', '.join(FORMATS)} were wanted.")
    _check_ours(folder)
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
            "start": assigner.start if assigner and assigner.shares else len(predictor.names) - 1,
            "keep": assigner.keep if assigner and assigner.shares else 0.0,
            "programs": described,
        }
        if set(formats) & set(PROGRAMS):
            buffer = io.BytesIO()
            np.savez(buffer, **arrays)
            (aside / WEIGHTS).write_bytes(buffer.getvalue())
            _copy(LOADER, aside)
        plan["files"] = sorted([*(path.name for path in aside.iterdir()), MODEL])
        configs.write_json(aside / MODEL, plan)
        aside.chmod(0o755)
        _replace(folder, aside)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _check_ours(folder: Path) -> None:
    """Refuse a folder that holds anything that no export of ours has written: it would be gone.

    Raises:
        UserError: naming what it holds.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a folder with --config.folder.")
    there = {path.name for path in folder.iterdir()} - {_COMPILED}
    strange = sorted(there - _written(folder))
    if strange:
        more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        raise UserError(
            f"{folder} holds {', '.join(strange[:5])}{more}, which no export has written and which "
            "would be lost. Move it away, or choose another folder with --config.folder."
        )


def _written(folder: Path) -> set[str]:
    """The files that the export in a folder has written, by its own list; none if it is none."""
    try:
        plan = json.loads((folder / MODEL).read_text())
        files = plan.get("files")
        if files is None:  # exports before 0.1 had no list
            programs = plan["programs"].values()
            named = [program.get(form) for program in programs for form in plan["formats"]]
            files = [MODEL, WEIGHTS, LOADER, TIMM_LOADER, *filter(None, named)]
        return set(files) if set(_OURS) <= set(plan) else set()
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return set()


def _replace(folder: Path, made: Path) -> None:
    """Give what was made the folder's name; what had it before is removed afterwards."""
    before = None
    if folder.exists():
        before = made.with_name(f"{made.name}.before")
        os.replace(folder, before)
    os.replace(made, folder)
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


def _name_of(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.shape} {array.dtype}".encode() + array.tobytes()).hexdigest()[
        :16
    ]
