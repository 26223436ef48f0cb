"""Which command, under which config, a workdir belongs to.

A command writes its config there first. A run that goes on must have the same one, and other
commands read it.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import ml_collections

from vintk_jax.defaults.field import fields, set_field
from vintk_jax.errors import UserError
from vintk_jax.files import write_json

_DEFINITION = "definition of "
_IDENTITY = "identity of "


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
    return config_of_fields(flat)


def config_of_fields(flat: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """A config from its values by dotted name; lists become tuples."""
    config = ml_collections.ConfigDict()
    for name, value in flat.items():
        set_field(config, name, tuple(value) if isinstance(value, list) else value)
    return config


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
        before = _read_before(path, command)
        _refuse_other_fields(workdir, command, before, now, may_change)
        _refuse_other_definitions(workdir, command, before, defined)
        _refuse_other_identities(workdir, command, before, identified)
    write_json(path, now | defined | identified)


def _read_before(path: Path, command: str) -> dict[str, Any]:
    """What an earlier run of the command has written."""
    try:
        before = json.loads(path.read_text())
    except ValueError as error:  # no JSON, or no text
        raise UserError(
            f"{path} is not readable JSON ({error}). Choose another --workdir, or remove the file "
            "if you don't need it."
        ) from error
    if not isinstance(before, dict):
        raise UserError(
            f"{path} is damaged: Expected the fields of a {command}, got {str(before)[:80]}. "
            "Choose another --workdir, or remove the file if you don't need it."
        )
    return before


def _refuse_other_fields(
    workdir: Path,
    command: str,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    may_change: Collection[str],
) -> None:
    differ = [
        name
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
        and name not in may_change
        and not name.startswith((_DEFINITION, _IDENTITY))
    ]
    if differ:
        changes = "; ".join(
            f"{name} was {before.get(name)!r}, now {now.get(name)!r}" for name in differ
        )
        raise UserError(
            f"{workdir} holds a {command} under another config: {changes}. Choose another "
            "--workdir, or the old values to go on."
        )


def _refuse_other_definitions(
    workdir: Path, command: str, before: Mapping[str, Any], defined: Mapping[str, int]
) -> None:
    for name, number in defined.items():
        was = before.get(name, 1)
        if was != number:
            what = name.removeprefix(_DEFINITION).replace("_", " ")
            raise UserError(
                f"{workdir} holds a {command} whose {what} follow definition {was}; this version "
                f"counts by definition {number}, and the two can't be mixed. Choose another "
                "--workdir; the old results stay as they are."
            )


def _refuse_other_identities(
    workdir: Path, command: str, before: Mapping[str, Any], identified: Mapping[str, str]
) -> None:
    for name, text in identified.items():
        if before.get(name, text) != text:
            what = name.removeprefix(_IDENTITY)
            raise UserError(
                f"{workdir} holds a {command} on other {what} than there are now, and the two "
                f"can't be mixed. Bring the {what} back, or choose another --workdir."
            )
