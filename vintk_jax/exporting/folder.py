"""The folder that an export leaves: programs, weights, a JSON that says how they go together, and thirty lines that run them."""

import hashlib
import io
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
from vintk_jax.errors import UserError
from vintk_jax.exporting.programs import FORMATS, PLATFORMS, Program
from vintk_jax.inference.predictor import Predictor

MODEL, WEIGHTS, LOADER = "model.json", "weights.npz", "load.py"


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
        UserError: for a folder that holds something other than an export, another format, or one that can't be written here.
    """
    if not formats or not set(formats) <= set(FORMATS):
        raise UserError(f"formats={tuple(formats)} came; some of {', '.join(FORMATS)} were wanted.")
    if folder.exists() and any(folder.iterdir()) and not (folder / MODEL).exists():
        raise UserError(f"{folder} holds something else than an exported model. Choose another folder with --config.folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        arrays: dict[str, np.ndarray] = {}
        described: dict[str, dict[str, Any]] = {}
        for name, program in programs.items():
            own = {_name_of(leaf): leaf for leaf in map(np.asarray, program.weights)}
            described[name] = {"weights": [_name_of(np.asarray(leaf)) for leaf in program.weights]} if "stablehlo" in formats else {}
            arrays |= own if "stablehlo" in formats else {}
            for form in formats:
                file = f"{name}.{form}"
                (aside / file).write_bytes(getattr(program, form)())
                described[name][form] = file
        plan = {
            **about,
            "classes": list(predictor.classes),
            "shape": list(predictor.shape),
            "lengths": list(reversed(predictor.names)),
            "formats": list(formats),
            "platforms": list(PLATFORMS),
            "start": assigner.start if assigner and assigner.shares else len(predictor.names) - 1,
            "keep": assigner.keep if assigner and assigner.shares else 0.0,
            "programs": described,
        }
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        (aside / WEIGHTS).write_bytes(buffer.getvalue())
        (aside / LOADER).write_text(resources.files("vintk_jax.exporting").joinpath(LOADER).read_text())
        configs.write_json(aside / MODEL, plan)
        aside.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _name_of(array: np.ndarray) -> str:
    return hashlib.sha256(f"{array.shape} {array.dtype}".encode() + array.tobytes()).hexdigest()[:16]
