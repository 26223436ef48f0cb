"""Imports run down: a package never imports one that stands on a higher floor."""

import ast
from pathlib import Path

import vintk_jax

ROOT = Path(vintk_jax.__file__).parent
# From the top. What isn't named here (errors, files, registry, ...) is the ground below all.
FLOORS = (
    {"__main__", "vintk_command"},
    {"search", "rank", "spectrum", "train", "assign", "infer", "export", "serve", "adapt"},
    {"doctor", "show_configs"},
    {"serving", "adapting"},
    {"adaptive", "exporting"},
    {"inference", "searching", "ranking"},
    {"training", "proxies", "weights", "spectral"},
    {"tasks"},
    {"workdir", "report", "spaces"},
    {"data", "ntk"},
    {"command_line"},
    {"config_digest", "config_check"},
    {"models", "defaults"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
GROUND = len(FLOORS)


def imported_rooms(path):
    """The packages and modules right below vintk_jax that a file imports, with the lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module == "vintk_jax":
            names = [f"vintk_jax.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("vintk_jax."):
                yield name.split(".")[1], node.lineno


def upward(files):
    """Every import that runs up."""
    for path in files:
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other, line in imported_rooms(path):
            if FLOOR_OF.get(other, GROUND) < FLOOR_OF.get(room, GROUND):
                yield f"{path.relative_to(ROOT)}:{line} imports {other}"


def test_no_import_runs_up():
    """In any file of the library, also inside functions."""
    files = sorted(ROOT.rglob("*.py"))
    assert len(files) > 100
    assert list(upward(files)) == []


def test_every_package_has_a_floor():
    """A new one must say where it stands."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(FLOOR_OF)
