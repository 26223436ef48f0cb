"""Configs as commands keep them in workdirs, and what commands read them by (`command_line`)."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from vintk_jax.command_line import Invocation, parse, run, take_compile_cache
from vintk_jax.defaults.field import fields
from vintk_jax.errors import UserError
from vintk_jax.files import write_atomically

__all__ = [
    "Invocation",
    "claim_workdir",
    "digest",
    "fields",
    "parse",
    "read_claimed",
    "run",
    "take_compile_cache",
    "with_seed",
    "write_json",
]

_DEFINITION, _IDENTITY = "definition of ", "identity of "


def digest(config: ml_collections.ConfigDict, without: Collection[str] = ()) -> str:
    """A short fingerprint of a config's fields but some, the same for equal values in any order.

    Where compiled programs are kept (compile_cache) never counts.
    """
    kept = {
        name: value
        for name, value in sorted(fields(config))
        if name not in without and not name.startswith("compile_cache.")
    }
    return hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest()[:12]


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically: readers see the old file or the new one, also after a kill."""
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def read_claimed(workdir: Path, command: str) -> ml_collections.ConfigDict:
    """The config that a command has written to its workdir.

    Raises:
        UserError: when there is none, or none that can be read.
    """
    path = workdir / f"{command}.config.json"
    try:
        flat = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"There is no {path}. `python -m vintk_jax.{command} --workdir {workdir}` comes first."
        ) from error
    except ValueError as error:  # no JSON, or no text
        raise UserError(f"{path} is not readable JSON ({error}).") from error
    names = flat if isinstance(flat, dict) else ()
    sections = {name.partition(".")[0] for name in names if "." in name}
    if not sections or sections & set(names):
        raise UserError(
            f"{path} is damaged: Expected the fields of a {command}, got {str(flat)[:80]}. Bring "
            "it back, or choose another --workdir."
        )
    config = ml_collections.ConfigDict()
    for name, value in flat.items():
        *sections, leaf = name.split(".")
        inside = config
        for section in sections:
            inside = (
                inside[section]
                if section in inside
                else inside.update({section: ml_collections.ConfigDict()}) or inside[section]
            )
        inside[leaf] = tuple(value) if isinstance(value, list) else value
    return config


def with_seed(config: ml_collections.ConfigDict, seed: int) -> ml_collections.ConfigDict:
    """A copy of a config with another seed."""
    copy = config.copy_and_resolve_references()
    copy.seed = seed
    return copy


def claim_workdir(
    workdir: Path,
    command: str,
    config: ml_collections.ConfigDict,
    may_change: Collection[str],
    definitions: Mapping[str, int] | None = None,
    identities: Mapping[str, str] | None = None,
) -> None:
    """Write the command's config to its workdir, or check that a config already there is the same.

    Args:
        may_change: fields in which a resumed run may differ.
        definitions: the number of the definition of what the command counts, by name, kept with the
            config; 1 where none was kept.
        identities: of what the results depend on beside the config (images, say), by name, kept
            with it; where none was kept, any is taken.

    Raises:
        UserError: naming what differs; nothing is written then.
    """
    path = workdir / f"{command}.config.json"
    now = json.loads(json.dumps(dict(fields(config))))
    defined = {f"{_DEFINITION}{name}": number for name, number in (definitions or {}).items()}
    identified = {f"{_IDENTITY}{name}": text for name, text in (identities or {}).items()}
    if path.exists():
        try:
            before = json.loads(path.read_text())
        except ValueError as error:  # no JSON, or no text
            raise UserError(
                f"{path} is not readable JSON ({error}). Choose another --workdir, or remove the "
                "file if you don't need it."
            ) from error
        if not isinstance(before, dict):
            raise UserError(
                f"{path} is damaged: Expected the fields of a {command}, got {str(before)[:80]}. "
                "Choose another --workdir, or remove the file if you don't need it."
            )
        differ = [
            k
            for k in sorted({*before, *now})
            if before.get(k) != now.get(k)
            and k not in may_change
            and not k.startswith((_DEFINITION, _IDENTITY))
        ]
        if differ:
            changes = "; ".join(f"{k} was {before.get(k)!r}, now {now.get(k)!r}" for k in differ)
            raise UserError(
                f"{workdir} holds a {command} under another config: {changes}. Choose another "
                "--workdir, or the old values to go on."
            )
        for name, number in defined.items():
            if before.get(name, 1) != number:
                what = name.removeprefix(_DEFINITION).replace("_", " ")
                raise UserError(
                    f"{workdir} holds a {command} whose {what} follow definition "
                    f"{before.get(name, 1)}; this version counts by definition {number}, and the "
                    "two can't be mixed. Choose another --workdir; the old results stay as they "
                    "are."
                )
        for name, text in identified.items():
            if before.get(name, text) != text:
                what = name.removeprefix(_IDENTITY)
                raise UserError(
                    f"{workdir} holds a {command} on other {what} than there are now, and the two "
                    f"can't be mixed. Bring the {what} back, or choose another --workdir."
                )
    write_json(path, now | defined | identified)
