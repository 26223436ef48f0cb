"""Compiled programs are kept between runs, and never the cause of a failure."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import ml_collections
import pytest

from vintk_jax import compile_cache
from vintk_jax.command_line import take_compile_cache
from vintk_jax.compile_cache import (
    VARIABLE,
    CompileCacheSettings,
    ProgramStore,
    chosen_folder,
)
from vintk_jax.config_digest import digest
from vintk_jax.defaults.search import search
from vintk_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[1]

# Compiles one program, and says how often JAX found one in the cache, and what the program gave.
PROGRAM = """
import json, sys
import jax
from vintk_jax import compile_cache
from vintk_jax.jax_settings import set_up_training
compile_cache._MIN_SECONDS = 0.0
set_up_training()
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name.endswith("/cache_hits")))
result = jax.jit(lambda x: (x @ x.T).sum())(jax.numpy.arange(12.0).reshape(3, 4))
print(json.dumps({"hits": sum(hits), "result": float(result)}))
"""


def compile_once(**environment):
    """What PROGRAM printed, in a process with these variables."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != VARIABLE and not name.startswith("JAX_COMP")
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Error" not in done.stderr
    return json.loads(done.stdout)


def programs(folder):
    """The files of programs below a folder."""
    return sorted(folder.rglob("*.program"))


def test_the_second_process_compiles_nothing(tmp_path):
    """The first one fills the folder, the second finds its programs there; the answer is the same.
    A damaged file is compiled again, and replaced.
    """
    environment = {VARIABLE: str(tmp_path / "kept")}
    first = compile_once(**environment)
    kept = programs(tmp_path / "kept")
    assert first["hits"] == 0
    assert kept
    second = compile_once(**environment)
    assert second["hits"] >= 1
    assert second["result"] == first["result"] == 1134.0
    for path in kept:
        path.write_bytes(path.read_bytes()[:-7])
    third = compile_once(**environment)
    assert third == {**first, "hits": 0}
    assert compile_once(**environment)["hits"] >= 1


def test_other_flags_are_other_programs(tmp_path):
    """What XLA's flags change is not taken from a run without them."""
    environment = {VARIABLE: str(tmp_path)}
    compile_once(**environment)
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_enable_fast_math=true"
    assert compile_once(**environment, XLA_FLAGS=flags)["hits"] == 0


@pytest.mark.parametrize("place", ["off", "a file", "no permission", "JAX's own"])
def test_places_that_cannot_be_written(tmp_path, place):
    """The command runs as without a cache, and leaves nothing there."""
    folder = tmp_path / "kept"
    environment = {VARIABLE: str(folder)}
    if place == "off":
        environment = {VARIABLE: "off", "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    elif place == "a file":
        folder.write_text("mine")
    elif place == "no permission":
        # A folder below a file can't be made by anyone, root included.
        (tmp_path / "file").write_text("mine")
        environment = {VARIABLE: str(tmp_path / "file" / "kept")}
    else:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "jax")
    assert compile_once(**environment)["hits"] == 0
    assert not programs(tmp_path)
    if place == "a file":
        assert folder.read_text() == "mine"


def test_a_store_that_may_not_be_written_is_still_read(tmp_path, monkeypatch):
    """Neither a full disk nor a missing right is an error."""
    store = ProgramStore(tmp_path, 10**6)
    store.put("a", b"program")

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compile_cache.tempfile, "mkstemp", full)
    monkeypatch.setattr(compile_cache.os, "utime", full)
    store.put("b", b"another")
    assert store.get("a") == b"program"
    assert store.get("b") is None
    monkeypatch.undo()
    monkeypatch.setattr(compile_cache.os, "replace", full)
    store.put("b", b"another")
    assert [path.name for path in tmp_path.iterdir()] == ["a.program"]


def test_the_least_recently_used_go_first(tmp_path):
    """The bound holds over all machines' folders; what is asked for stays."""
    store = ProgramStore(tmp_path / "this", 4 * 132, tmp_path)
    ProgramStore(tmp_path / "other", 10**9).put("old", bytes(100))
    for age, name in enumerate(("c", "b", "a"), start=1):
        store.put(name, bytes(100))
        stamp = time.time() - 100 * age
        os.utime(tmp_path / "this" / f"{name}.program", (stamp, stamp))
    os.utime(tmp_path / "other" / "old.program", (1.0, 1.0))
    assert store.get("a") == bytes(100)
    store.put("d", bytes(100))
    assert {path.stem for path in programs(tmp_path)} == {"a", "c", "d"}
    store.put("large", bytes(4 * 132 + 1))
    assert store.get("large") is None
    assert store.get("d") == bytes(100)


def test_what_a_killed_writer_left_is_cleared(tmp_path):
    """Not at once: another process may be writing it."""
    store = ProgramStore(tmp_path, 10**6)
    (tmp_path / "old.partial").write_bytes(b"x")
    (tmp_path / "new.partial").write_bytes(b"x")
    os.utime(tmp_path / "old.partial", (1.0, 1.0))
    store.put("a", b"program")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.program", "new.partial"]


def test_which_folder(tmp_path, monkeypatch):
    """The field, then the variable, then the user's cache folder."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "variable"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    named = CompileCacheSettings(folder=str(tmp_path / "field"))
    assert chosen_folder(named) == tmp_path / "field"
    assert chosen_folder(CompileCacheSettings()) == tmp_path / "variable"
    assert chosen_folder(CompileCacheSettings(folder="off")) is None
    monkeypatch.setenv(VARIABLE, "off")
    assert chosen_folder(CompileCacheSettings()) is None
    monkeypatch.delenv(VARIABLE)
    if sys.platform == "linux":
        assert chosen_folder(CompileCacheSettings()) == tmp_path / "caches/vintk_jax/programs"


def test_the_section_is_in_no_result():
    """It is taken out of a config, so that workdirs of before resume, and counts in no digest."""
    config = search("autoformer-tiny")
    moved = search("autoformer-tiny")
    moved.compile_cache.folder = "off"
    assert digest(config) == digest(moved)
    assert take_compile_cache(moved) == CompileCacheSettings(folder="off")
    assert "compile_cache" not in moved
    assert digest(config) == digest(moved)
    assert take_compile_cache(ml_collections.ConfigDict()) == CompileCacheSettings()


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf")])
def test_bounds_that_are_none(bound):
    """One message, with what to do instead."""
    with pytest.raises(UserError, match=r"max_gb above 0.*folder=off"):
        CompileCacheSettings(max_gb=bound)
