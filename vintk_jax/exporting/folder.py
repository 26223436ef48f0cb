"""The folder that an export leaves: programs, weights, a JSON that says how they go together, and
a loader that runs them.

In timm's style there are no programs but weights by timm's names, one file a length, and a PyTorch
module that takes them.
"""

import hashlib
import io
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.adaptive.feature_assigner import FeatureAssigner
from vintk_jax.data.archives import MEAN, STD
from vintk_jax.errors import UserError
from vintk_jax.exporting import timm
from vintk_jax.exporting.hugging_face import HuggingFace
from vintk_jax.exporting.programs import FORMATS as PROGRAMS
from vintk_jax.exporting.programs import PLATFORMS, Program
from vintk_jax.exporting.replace import (
    LOADER,
    MODEL,
    TIMM_LOADER,
    WEIGHTS,
    check,
    checksum,
    checksum_of_plan,
    replace,
)
from vintk_jax.files import write_json
from vintk_jax.inference.predictor import Predictor

TIMM = "timm"
HUGGING_FACE = "huggingface"
FORMATS = (*PROGRAMS, TIMM, HUGGING_FACE)  # also in defaults.export


def write(
    folder: Path,
    predictor: Predictor,
    assigner: Assigner | None,
    programs: Mapping[str, Program],
    about: Mapping[str, Any],
    formats: Sequence[str] = FORMATS[:1],
    hugging_face: HuggingFace | None = None,
) -> None:
    """Write the whole folder, or nothing: readers see the one before or the new one.

    Arrays that several programs use are stored once; all lengths share most of theirs. model.json
    has a checksum of each file. A later export knows by these what it may replace.

    Args:
        about: what else model.json says.
        formats: of the programs, some of `FORMATS`.
        hugging_face: what is written in the format of that name.

    Raises:
        UserError: for a folder that holds something other than an export or that can't be
            replaced, another format, or one that can't be written of this model.
    """
    if not formats or not set(formats) <= set(FORMATS):
        raise UserError(
            f"Expected formats to be some of {', '.join(FORMATS)}, got {tuple(formats)}."
        )
    folder = check(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        described = _write_programs(aside, programs, formats)
        if TIMM in formats:
            _write_timm(aside, predictor, described)
        if HUGGING_FACE in formats:
            hugging_face.write(aside)
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
        plan["files"] = sorted([*(path.name for path in aside.iterdir()), MODEL])
        plan["checksums"] = {path.name: checksum(path) for path in sorted(aside.iterdir())}
        plan["checksums"][MODEL] = checksum_of_plan(plan)
        write_json(aside / MODEL, plan)
        aside.chmod(0o755)
        replace(folder, aside)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_programs(
    folder: Path, programs: Mapping[str, Program], formats: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Write programs, the weights of StableHLO's, and the loader. Returns what model.json says of
    each program.
    """
    arrays: dict[str, np.ndarray] = {}
    described: dict[str, dict[str, Any]] = {}
    for name, program in programs.items():
        described[name] = {}
        if "stablehlo" in formats:
            by_name = {_name_of(leaf): leaf for leaf in map(np.asarray, program.weights)}
            described[name]["weights"] = [_name_of(np.asarray(leaf)) for leaf in program.weights]
            arrays |= by_name
        for form in formats:
            if form in PROGRAMS:
                file = f"{name}.{form}"
                (folder / file).write_bytes(getattr(program, form)())
                described[name][form] = file
    if set(formats) & set(PROGRAMS):
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        (folder / WEIGHTS).write_bytes(buffer.getvalue())
        _copy(LOADER, folder)
    return described


def _write_timm(folder: Path, predictor: Predictor, described: dict[str, dict[str, Any]]) -> None:
    """Write a file of weights for each length, and the module that takes them. Adds to `described`
    what `timm_model.create_model` reads of each length.
    """
    for name in predictor.names:
        one = predictor.length(name)
        file = f"{name}.safetensors"
        sizes = timm.sizes(one)
        (folder / file).write_bytes(timm.safetensors(one))
        described.setdefault(name, {}).update(
            {
                TIMM: file,
                "timm_sizes": sizes,
                "input_size": [side * sizes["patch_size"] for side in sizes["grid"]],
            }
        )
    _copy(TIMM_LOADER, folder)


def _copy(loader: str, folder: Path) -> None:
    source = resources.files("vintk_jax.exporting").joinpath(loader)
    (folder / loader).write_text(source.read_text())


def _first_length(predictor: Predictor, assigner: Assigner | None) -> int:
    """The length that comes first where no stage reads images: the assigner's; without one, the
    longest.
    """
    if isinstance(assigner, FeatureAssigner):
        return assigner.start
    return len(predictor.names) - 1


def _name_of(array: np.ndarray) -> str:
    """A name that equal arrays share, and only they."""
    content = f"{array.shape} {array.dtype}".encode() + array.tobytes()
    return hashlib.sha256(content).hexdigest()[:16]
