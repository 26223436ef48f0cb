"""Command lines, shared by all commands: --config FILE[:arg], --config.any.field=value, --workdir,
--dry-run, --help. A config is a file, or the name of one that comes with the package.
"""

import dataclasses
import functools
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
from absl import flags
from ml_collections import config_flags

from vintk_jax import config_check, config_files, system_errors
from vintk_jax.compile_cache import DEFAULT_CACHE, CompileCacheSettings
from vintk_jax.defaults.field import Field, fields
from vintk_jax.defaults.rules import CHECKED_WHERE_USED
from vintk_jax.errors import UserError, nearest

_CONFIG_FLAG = re.compile(r"--?config(?:=(.*))?$")
_CONFIG_ARGUMENT = re.compile(r":([^:/\\]*)$")  # behind a file's name and a colon
_HELP_FLAGS = ("-h", "--help", "-help")
_WIDTH = 100  # columns of --help


@dataclasses.dataclass(frozen=True)
class Invocation:
    """A parsed command line."""

    config: ml_collections.ConfigDict
    workdir: Path
    dry_run: bool
    config_file: str  # as it was named, with its :arg
    compile_cache: CompileCacheSettings = DEFAULT_CACHE


def parse(
    argv: list[str], *, command: str, about: str, default_config: str, needs_config: bool = True
) -> Invocation | None:
    """Read a command line; None when it asked for help, which has then been printed.

    Args:
        argv: with the program's name first, as sys.argv; "vintk search" for the installed command.
        about: what the command does, for --help.
        default_config: the file whose fields --help shows when none is named.
        needs_config: whether a config has to be named; else the default is taken.

    Raises:
        UserError: for a file that isn't there, a field or flag that doesn't exist, a value of the
            wrong type or one that its field's rule doesn't allow (`config_check`).
    """
    program = argv[0] if argv[0].startswith("vintk ") else f"python -m vintk_jax.{command}"
    wants_help = any(word in _HELP_FLAGS for word in argv[1:])
    argv = [
        "--dry_run" if word == "--dry-run" else word for word in argv if word not in _HELP_FLAGS
    ]
    if (wants_help or not needs_config) and _named_config(argv) is None:
        argv = [argv[0], f"--config={default_config}", *argv[1:]]
    named = _named_config(argv)
    if named is None:
        raise UserError(
            f"Expected --config FILE, got none. Try: {program} --config {default_config}"
        )
    path = config_files.locate(_CONFIG_ARGUMENT.sub("", named))
    argument = _CONFIG_ARGUMENT.search(named)
    argument = argument[1] if argument else ""
    found = f"{path}:{argument}" if argument else str(path)
    config, workdir, dry_run = _read(_with_config(argv, found), path, argument)
    if wants_help:
        print(_help(program, about, path, config))
        return None
    config_check.check(config)
    name = f"{path.stem}-{argument}" if argument else path.stem
    workdir = Path(workdir or Path("runs") / name)
    system_errors.writing_to(workdir)
    return Invocation(config, workdir, dry_run, named, take_compile_cache(config))


def command(
    name: str, *, about: str, default_config: str, needs_config: bool = True
) -> Callable[[Callable[[Invocation], None]], Callable[[list[str]], None]]:
    """Make a command's `main(argv)` of a function that takes a parsed command line.

    The function is not called where help was asked for. It is called before JAX is imported, and
    sets JAX up itself (`jax_settings`).

    Args:
        name: of the command, as in `python -m vintk_jax.NAME`.
        about: what it does, for --help.
        default_config: the file whose fields --help shows when none is named.
        needs_config: whether a config has to be named; else the default is taken.
    """

    def decorate(work: Callable[[Invocation], None]) -> Callable[[list[str]], None]:
        @functools.wraps(work)
        def main(argv: list[str]) -> None:
            invocation = parse(
                argv,
                command=name,
                about=about,
                default_config=default_config,
                needs_config=needs_config,
            )
            if invocation is not None:
                work(invocation)

        return main

    return decorate


def _named_config(argv: list[str]) -> str | None:
    """The config on a command line as it was named, with its :arg."""
    for i, word in enumerate(argv):
        match = _CONFIG_FLAG.match(word)
        if match:
            following = argv[i + 1] if i + 1 < len(argv) else ""
            return following if match[1] is None else match[1]
    return None


def _with_config(argv: list[str], config: str) -> list[str]:
    """The command line with another config, ahead of its fields: ml_collections wants it so."""
    for i, word in enumerate(argv):
        match = _CONFIG_FLAG.match(word)
        if match:
            behind = argv[i + 2 :] if match[1] is None else argv[i + 1 :]
            return [argv[0], f"--config={config}", *argv[1:i], *behind]
    return argv


def _read(
    argv: list[str], path: Path, argument: str
) -> tuple[ml_collections.ConfigDict, str | None, bool]:
    """Config, workdir as it was named, and dry run, by the flags of a command line."""
    values = flags.FlagValues()
    given = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    flags.DEFINE_bool("dry_run", False, "", flag_values=values)
    try:
        rest = values(argv, known_only=False)[1:]
        config = given.value
    except flags.UnrecognizedFlagError as error:
        hint = nearest(error.flagname, ["config", "workdir", "dry-run", "help"])
        raise UserError(
            "Expected --config, --config.FIELD, --workdir, --dry-run or --help, got "
            f"--{error.flagname}.{hint}"
        ) from error
    except Exception as error:
        # absl, ml_collections and the config file itself, which may be anything, raise many types
        raise UserError(_explain(argv, path, argument, error)) from error
    if rest:
        raise UserError(f"Expected flags, got {' '.join(rest)!r}. Give --config.FIELD=VALUE.")
    return config, values["workdir"].value, values["dry_run"].value


def _explain(argv: list[str], path: Path, argument: str, error: Exception) -> str:
    """One message for what ml_collections and absl raise in many ways."""
    try:
        scope: dict[str, Any] = {}
        exec(compile(path.read_text(), str(path), "exec"), scope)
        config = scope["get_config"](argument) if argument else scope["get_config"]()
        known = dict(fields(config))
    except UserError as told:
        return str(told)
    except Exception as broken:  # the config file itself is at fault
        return (
            f"Expected a config file that Python can run, got {path}, which raises "
            f"{type(broken).__name__}: {broken}"
        )
    for word in argv:
        match = re.match(r"--?config\.([\w.]+)", word)
        if match and match[1] not in known:
            return config_check.unknown_field(match[1], known, path)
    return f"{path}: {' '.join(str(error).split())}"


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


def _help(program: str, about: str, path: Path, config: ml_collections.ConfigDict) -> str:
    """What --help prints."""
    table = config_check.table_of(config)
    rows = [
        _row(name, value, table.get(name))
        for name, value in fields(config)
        if name not in table or table[name].used
    ]
    return "\n".join(
        [
            f"usage: {program} --config FILE[:arg] [--config.FIELD=VALUE ...] "
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
            f"fields of {path}, with their values, meanings and [what they may be]:",
            *rows,
        ]
    )


def _row(name: str, value: Any, field: Field | None) -> str:
    """A field's lines: its value, and below it meaning and rule where it has a definition."""
    shown = f"  --config.{name}={value!r}"
    if field is None:
        return shown
    allowed = "" if field.rule is CHECKED_WHERE_USED else f" [{field.rule.expected}]"
    indent = " " * 6
    meaning = textwrap.fill(
        field.meaning + allowed,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{shown}\n{meaning}"


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
