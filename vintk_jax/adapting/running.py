"""The stages of a plan, run one after another, each a command of its own in a process of its own.

Every command goes on where a killed one was, so this does: what is finished is written down, and
the stage that a kill has met is started again.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from vintk_jax import config_files
from vintk_jax.adapting.plan import STAGES, Plan, flags
from vintk_jax.compile_cache import CompileCacheSettings
from vintk_jax.defaults.adaptive import adaptive
from vintk_jax.defaults.export import export
from vintk_jax.defaults.field import fields
from vintk_jax.defaults.search import search
from vintk_jax.defaults.training import training
from vintk_jax.errors import UserError
from vintk_jax.files import write_json
from vintk_jax.report.progress import SHARED
from vintk_jax.report.stage_progress import StageProgress

FINISHED = "stages.json"
LOGS = "logs"
SEARCH = "search"
MODEL = "model"
EXPORT = "export"
_TICK_S = 0.2
_TAIL = 4000  # bytes of a log that an error is looked for in


def model_folder(workdir: Path, given: Path | None) -> Path:
    """The workdir of the training."""
    return workdir / MODEL if given is None else given


def command_of(
    stage: str, plan: Plan, workdir: Path, *, arch: Path | None, model: Path | None
) -> list[str]:
    """A stage's command: module and words.

    Args:
        arch: best.json, where it was given; else the search's, where there is a search.
        model: workdir of a training, where it was given.
    """
    folder = model_folder(workdir, model)
    if stage == "page":
        return ["vintk_jax.adapting.results", str(workdir), str(folder)]
    values = dict(plan.values.get(stage, {}))
    if stage == "train":
        if arch is None and "search" in plan.values:
            arch = workdir / SEARCH / "best.json"
        if arch is not None:
            values["model.arch"] = str(arch)
    if stage == "export":
        values["folder"] = str(workdir / EXPORT)
    where = workdir / SEARCH if stage == "search" else folder
    # The shipped file, by its path: one of that name in this folder may say anything.
    name, defaults = _CONFIGS[stage]
    config = str(config_files.shipped()[name])
    told = dict(fields(defaults()))
    changed = {key: value for key, value in values.items() if told.get(key) != _plain(value)}
    return [f"vintk_jax.{stage}", "--config", config, "--workdir", str(where), *flags(changed)]


def _plain(value: Any) -> Any:
    """As a config has it: JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value


def _vit_space() -> ml_collections.ConfigDict:
    """The fields of configs/vit_space.py."""
    return search("autoformer-tiny")


def shown(command: Sequence[str]) -> str:
    """A command as a person types it."""
    module, *words = command
    quoted = [f'"{word}"' if set(word) & set("()' ") else word for word in words]
    named = [
        Path(word).stem if before == "--config" else word
        for before, word in zip(["", *words], quoted, strict=False)
    ]
    return " ".join(["vintk", module.removeprefix("vintk_jax."), *named])


def finished(workdir: Path) -> dict[str, float]:
    """Seconds of the stages that are finished."""
    try:
        found = json.loads((workdir / FINISHED).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def environment(cache: CompileCacheSettings, **more: str) -> dict[str, str]:
    """Of a stage's process."""
    from vintk_jax.jax_settings import large_pages

    made = {**large_pages(), **os.environ, **more}
    if cache.folder != "auto":
        made["VINTK_COMPILE_CACHE"] = cache.folder
    return made


def run_process(
    words: Sequence[str], log: Path, environment: Mapping[str, str], tick: Callable[[], None]
) -> None:
    """Run a module to its end.

    Args:
        words: the module and its arguments.
        log: what it prints goes behind what is there.
        tick: called now and then.

    Raises:
        UserError: with what it said, when it fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    begun = log.stat().st_size if log.exists() else 0
    with open(log, "ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "vintk_jax.adapting.stage", *words],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(environment),
        )
        try:
            while process.poll() is None:
                tick()
                time.sleep(_TICK_S)
        except KeyboardInterrupt:
            # Ctrl-C has reached it too: it writes what it has.
            _wait(process, 20.0)
            raise
        finally:
            process.stdin.close()  # ends it, if it still runs
            process.wait()
    if process.returncode:
        raise UserError(_what_it_said(log, begun, words[0], process.returncode))


def _wait(process: subprocess.Popen, seconds: int | float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()


def _what_it_said(log: Path, begun: int, module: str, code: int) -> str:
    with open(log, "rb") as file:
        file.seek(max(begun, log.stat().st_size - _TAIL))
        text = file.read().decode(errors="backslashreplace")
    name = module.rpartition(".")[2]
    _, found, message = text.rpartition("error: ")
    if found:
        return f"{name} stopped: {' '.join(message.split())}"
    last = text.strip().splitlines()[-1:] or ["nothing"]
    return (
        f"{name} ended with code {code}; the last that it said: {last[0]} (all of it: {log}). The "
        "same command goes on."
    )


def run_stages(
    plan: Plan,
    workdir: Path,
    progress: StageProgress,
    cache: CompileCacheSettings,
    *,
    arch: Path | None,
    model: Path | None,
) -> dict[str, float]:
    """Run what isn't finished; seconds of each stage.

    Raises:
        UserError: with what a stage said that failed.
    """
    done = finished(workdir)
    share = workdir / LOGS / "progress.json"
    for stage in STAGES:
        if stage not in plan.seconds or stage in done:
            continue
        progress.begin(stage)
        share.unlink(missing_ok=True)
        begun = time.monotonic()

        def tick() -> None:
            progress.tell(_told(share))

        words = command_of(stage, plan, workdir, arch=arch, model=model)
        made = environment(cache, **{SHARED: str(share)})
        run_process(words, workdir / LOGS / f"{stage}.log", made, tick)
        done[stage] = round(time.monotonic() - begun, 1)
        write_json(workdir / FINISHED, done)
        progress.end()
    share.unlink(missing_ok=True)
    return done


def _told(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


# The config file of each stage, and what fills it: a field that has its value there is not named.
_CONFIGS = {
    "search": ("vit_space", _vit_space),
    "train": ("revit_digits", training),
    "assign": ("tla_digits", adaptive),
    "infer": ("tla_digits", adaptive),
    "export": ("export", export),
}
