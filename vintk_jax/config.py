"""Command lines, shared by all commands: --config FILE[:arg], --config.any.field=value, --workdir,
--dry-run, --help.

A config file is documented by itself, and by the shared fields that it takes from
`vintk_jax.defaults`: the comment behind or above `config.a.b = value` is what --help shows for a.b.
"""

import ast
import dataclasses
import hashlib
import importlib.util
import io
import json
import os
import re
import sys
import tokenize
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from vintk_jax import settings, system_errors
from vintk_jax.compile_cache import DEFAULT_CACHE, CompileCacheSettings
from vintk_jax.errors import UserError, nearest
from vintk_jax.files import write_atomically

_DEFINITION, _IDENTITY = "definition of ", "identity of "


@dataclasses.dataclass(frozen=True)
class Invocation:
    """A parsed command line."""

    config: ml_collections.ConfigDict
    workdir: Path
    dry_run: bool
    config_file: str  # as it was named, with its :arg
    compile_cache: CompileCacheSettings = DEFAULT_CACHE


def fields(config: ml_collections.ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every leaf."""
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            yield from fields(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def meanings(path: Path) -> dict[str, str]:
    """The comment behind or right above each `config.a.b = value` of a config file and of the
    `vintk_jax.defaults` it imports, by dotted name.
    """
    found: dict[str, str] = {}
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "vintk_jax.defaults."
        ):
            found |= meanings(Path(importlib.util.find_spec(node.module).origin))
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines = source.splitlines()
    for number, line in enumerate(lines, start=1):
        assigned = re.match(r"\s*config\.([\w.]+)\s*=", line)
        if not assigned:
            continue
        if number in comments:
            found[assigned[1]] = comments[number]
            continue
        above = number - 1
        while above in comments and lines[above - 1].lstrip().startswith("#"):
            above -= 1
        if above < number - 1:
            found[assigned[1]] = " ".join(comments[row] for row in range(above + 1, number))
    return found


def _config_path(argv: list[str]) -> Path | None:
    """The config file named on a command line, without its :arg."""
    for i, word in enumerate(argv):
        match = re.match(r"--?config(?:=(.*))?$", word)
        if match:
            value = match[1] if match[1] is not None else (argv[i + 1] if i + 1 < len(argv) else "")
            return Path(re.sub(r":[^:/\\]*$", "", value))
    return None


def _help(command: str, about: str, path: Path, config: ml_collections.ConfigDict) -> str:
    comments = meanings(path)
    width = max(len(f"{name}={value!r}") for name, value in fields(config))
    rows = [
        f"  --config.{f'{name}={value!r}':<{width}}  {comments.get(name, '')}"
        for name, value in fields(config)
    ]
    return "\n".join(
        [
            f"usage: python -m vintk_jax.{command} --config FILE[:arg] [--config.FIELD=VALUE ...] "
            "[--workdir DIR] [--dry-run]",
            "",
            about.strip(),
            "",
            "  --workdir DIR   where results go and where a stopped run goes on (default: "
            "runs/<config's name>[-arg])",
            "  --dry-run       say what the run will cost in time and memory, and stop",
            "",
            "Compiled programs are kept for the next run, in the user's cache folder. The variable",
            "VINTK_COMPILE_CACHE or the field compile_cache.folder names another folder, or off.",
            "",
            f"fields of {path}, with their values:",
            *rows,
        ]
    )


def parse(argv: list[str], *, command: str, about: str, default_config: str) -> Invocation | None:
    """Read a command line; None when it asked for help, which has then been printed.

    Args:
        argv: with the program's name first, as sys.argv.
        about: what the command does, for --help.
        default_config: the file whose fields --help shows when none is named.

    Raises:
        UserError: for a file that isn't there, a field or flag that doesn't exist, a value of the
            wrong type or one that can't be meant (`settings`).
    """
    wants_help = any(word in ("-h", "--help", "-help") for word in argv[1:])
    argv = [
        "--dry_run" if word == "--dry-run" else word
        for word in argv
        if word not in ("-h", "--help", "-help")
    ]
    path = _config_path(argv)
    if path is None:
        if not wants_help:
            raise UserError(
                f"No config came. Try: python -m vintk_jax.{command} --config {default_config}"
            )
        argv, path = [*argv, f"--config={default_config}"], Path(default_config)
    if not path.is_file():
        there = ", ".join(
            sorted(
                str(p)
                for p in (path.parent if path.parent.is_dir() else Path("configs")).glob("*.py")
            )
        )
        raise UserError(
            f"There is no config file {path}.{f' There are: {there}.' if there else ''}"
        )
    values = flags.FlagValues()
    given = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    flags.DEFINE_bool("dry_run", False, "", flag_values=values)
    try:
        rest = values(argv, known_only=False)[1:]
        config = given.value
    except flags.UnrecognizedFlagError as error:
        hint = nearest(error.flagname, ["config", "workdir", "dry-run", "help"])
        raise UserError(f"Unknown flag --{error.flagname}.{hint}") from error
    except Exception as error:
        # absl, ml_collections and the config file itself, which may be anything, raise many types
        raise UserError(_explain(argv, path, error)) from error
    if rest:
        raise UserError(
            f"Can't read {' '.join(rest)!r}: settings are given as --config.FIELD=VALUE."
        )
    if wants_help:
        print(_help(command, about, path, config))
        return None
    settings.check(config)
    argument = "".join(_argument(argv))
    workdir = Path(
        values["workdir"].value or Path("runs") / "-".join(filter(None, (path.stem, argument)))
    )
    system_errors.writing_to(workdir)
    return Invocation(
        config,
        workdir,
        values["dry_run"].value,
        f"{path}:{argument}" if argument else str(path),
        take_compile_cache(config),
    )


def take_compile_cache(config: ml_collections.ConfigDict) -> CompileCacheSettings:
    """Take the section compile_cache out of a config: no result depends on it, so it is in no
    workdir and no digest. A config without it gets the defaults.
    """
    if "compile_cache" not in config:
        return DEFAULT_CACHE
    section = config.compile_cache.to_dict()
    with config.unlocked():
        del config.compile_cache
    return CompileCacheSettings(**section)


def _argument(argv: list[str]) -> list[str]:
    """What stands behind the config file's name and a colon: one string, or none."""
    return [m[1] for word in argv if (m := re.search(r"\.py:([^:/\\]+)$", word))][:1]


def _explain(argv: list[str], path: Path, error: Exception) -> str:
    """One message for what ml_collections and absl raise in many ways."""
    try:
        scope: dict[str, Any] = {}
        exec(compile(path.read_text(), str(path), "exec"), scope)
        known = dict(fields(scope["get_config"](*_argument(argv))))
    except UserError as told:
        return str(told)
    except Exception as broken:  # the config file itself is at fault
        return f"{path} could not be read: {type(broken).__name__}: {broken}"
    for word in argv:
        name = re.match(r"--?config\.([\w.]+)", word)
        if name and name[1] not in known:
            inside = [field for field in known if field.startswith(name[1] + ".")]
            hint = (
                f" It has fields of its own: {', '.join(inside)}."
                if inside
                else nearest(name[1], known)
            )
            return f"{path} has no field {name[1]!r}.{hint}"
    return f"{path}: {' '.join(str(error).split())}"


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


def run(main, argv: list[str] | None = None) -> None:
    """Call a command's main(argv) and turn a UserError, or what the system refuses, into one
    message and exit code 2, Ctrl-C into exit code 130.

    Args:
        argv: None for this process's own, which ends with the command: then threads of libraries
            don't tell in their own words what the system refused.
    """
    if argv is None:
        system_errors.silence_threads()
    try:
        main(sys.argv if argv is None else argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader, head say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        message = system_errors.explained(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        if argv is None:
            # Threads that still write would each report the same again while Python ends.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(2)
        sys.exit(2)
