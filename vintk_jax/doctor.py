"""`vintk doctor` says what this machine has: versions, devices, memory, caches; and which command
lacks what.
"""

import importlib.util
import platform
import shutil
from importlib import metadata
from pathlib import Path

from vintk_jax.compile_cache import DEFAULT_CACHE, chosen_folder
from vintk_jax.errors import UserError
from vintk_jax.extras import install_line

_PACKAGES = (
    "vintk_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "ml-collections",
    "optuna",
    "grain",
)
# A module that isn't always there, what needs it, and what installs it: an extra of pyproject.toml,
# or a line.
_OPTIONAL = (
    ("tensorflow_datasets", "data.source=tfds:NAME", "tfds"),
    ("neural_tangents", "ntk.implementation=neural_tangents", "reference"),
    ("jax2onnx", "export --config.formats=\"('onnx',)\"", "pip install --no-deps jax2onnx"),
    ("uvicorn", "serve", "serve"),
    ("torch", "models that export wrote for timm", "pip install torch"),
)


def main(argv: list[str]) -> None:
    """Print the tables.

    Args:
        argv: with the program's name first.

    Raises:
        UserError: for further words.
    """
    if any(word in ("-h", "--help", "-help") for word in argv[1:]):
        print(__doc__.strip())
        return
    if argv[1:]:
        raise UserError(f"Expected no more words, got {' '.join(argv[1:])!r}.")
    import rich.box
    from rich.table import Table

    from vintk_jax.report.console import make_console

    table = Table(box=rich.box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for rows in (_versions(), _machine(), _cache(), _lacking()):
        for name, value in rows:
            table.add_row(name, value)
        table.add_section()
    make_console().print(table)


def _versions() -> list[tuple[str, str]]:
    rows = [("Python", f"{platform.python_version()} on {platform.platform()}")]
    for name in _PACKAGES:
        try:
            rows.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            rows.append((name, "not installed"))
    return rows


def _machine() -> list[tuple[str, str]]:
    import jax
    import psutil

    memory = psutil.virtual_memory()
    gib = 2**30
    rows = [
        ("cores", str(psutil.cpu_count())),
        ("memory", f"{memory.total / gib:.1f} GiB, {memory.available / gib:.1f} GiB free"),
    ]
    try:
        devices = jax.devices()
    except RuntimeError as error:  # an accelerator that doesn't start
        return [*rows, ("devices", f"JAX finds none: {error}")]
    kinds = dict.fromkeys(f"{device.platform} ({device.device_kind})" for device in devices)
    return [*rows, ("devices", f"{len(devices)}: {', '.join(kinds)}")]


def _cache() -> list[tuple[str, str]]:
    folder = chosen_folder(DEFAULT_CACHE)
    if folder is None:
        return [("compiled programs", "not kept (VINTK_COMPILE_CACHE=off)")]
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    there = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(there).free
    return [
        ("compiled programs", f"{folder}: {len(files)} files, {size / 1e6:.0f} MB"),
        ("disk", f"{free / 1e9:.0f} GB free there, {_free_here():.0f} GB here"),
    ]


def _free_here() -> float:
    return shutil.disk_usage(Path.cwd()).free / 1e9


def _lacking() -> list[tuple[str, str]]:
    rows = []
    for module, needed_by, installed_by in _OPTIONAL:
        if importlib.util.find_spec(module) is not None:
            rows.append((module, "there"))
            continue
        line = installed_by if " " in installed_by else install_line(installed_by)
        rows.append((module, f"not there, needed by {needed_by}: {line}"))
    return rows
