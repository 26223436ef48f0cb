"""The installed command, in folders that hold nothing of ours."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from adapting.runs import SMALL, write_folder

from vintk_jax import command_line, config_files, show_configs, vintk_command
from vintk_jax.errors import UserError

ROOT = Path(__file__).parents[1]
PLAIN = {"JAX_PLATFORMS": "cpu", "COLUMNS": "100"}


def test_every_command_is_there():
    """Each module has a main that answers --help."""
    for name in vintk_command.COMMANDS:
        assert f"  {name} " in vintk_command.usage()
        vintk_command.dispatch(["vintk", name, "--help"])


def test_help_names_the_installed_command(capsys):
    """And `python -m` names the module."""
    vintk_command.dispatch(["vintk", "search", "--help", "--config=vit_space"])
    assert capsys.readouterr().out.startswith("usage: vintk search --config")


def test_a_config_may_stand_behind_its_fields():
    """And a command that has a default needs none."""
    words = ["vintk adapt", "--config.seed=3"]
    for line in (words, [*words, "--config", "adapt"]):
        invocation = command_line.parse(
            line, command="adapt", about="", default_config="configs/adapt.py", needs_config=False
        )
        assert invocation.config.seed == 3
        assert invocation.workdir == Path("runs/adapt")


def test_words_that_are_no_command():
    """One message, with what was meant."""
    with pytest.raises(UserError, match="Did you mean 'search'"):
        vintk_command.dispatch(["vintk", "serch"])


def test_a_config_is_found_by_its_name(tmp_path, monkeypatch):
    """A file here comes first, then configs/ here, then what is shipped."""
    monkeypatch.chdir(tmp_path)
    shipped = config_files.shipped()["vit_space"]
    assert config_files.locate("vit_space") == shipped
    assert config_files.locate("vit_space.py") == shipped
    assert config_files.locate("configs/vit_space.py") == shipped
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "vit_space.py").touch()
    assert config_files.locate("vit_space") == Path("configs/vit_space.py")
    (tmp_path / "vit_space.py").touch()
    assert config_files.locate("vit_space.py") == Path("vit_space.py")
    for nowhere in ("elsewhere/vit_space.py", "vit_spce", "/configs/vit_space.py"):
        with pytest.raises(UserError, match="Did you mean 'vit_space'"):
            config_files.locate(nowhere)


def test_configs_are_listed_and_copied(tmp_path, monkeypatch, capsys):
    """All of them; a copy is the file, and never written over another."""
    monkeypatch.chdir(tmp_path)
    show_configs.main(["vintk configs"])
    listed = capsys.readouterr().out
    names = [path.stem for path in sorted((ROOT / "configs").glob("*.py"))]
    assert len(names) > 15
    assert all(f" {name} " in listed for name in names)
    show_configs.main(["vintk configs", "rank", "--copy"])
    assert Path("rank.py").read_text() == (ROOT / "configs" / "rank.py").read_text()
    with pytest.raises(UserError, match="is there already"):
        show_configs.main(["vintk configs", "rank", "--copy"])
    with pytest.raises(UserError, match="Expected one of"):
        show_configs.main(["vintk configs", "rnk"])


def run_in(folder, *words):
    """What a command prints, in a folder, without our clone on the path."""
    environment = {**os.environ, **PLAIN}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_alone(tmp_path):
    """Built, and installed without our clone beside packages that are there: `vintk` lists its
    configs, says what there is, searches, and adapts.
    """
    wheels = tmp_path / "wheels"
    source = tmp_path / "source"  # a build leaves files beside what it reads
    for folder in ("vintk_jax", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    pip = (sys.executable, "-m", "pip")
    run_in(source, *pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), ".")
    run_in(tmp_path, sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "env"))
    python = tmp_path / "env" / "bin" / "python"
    (wheel,) = wheels.glob("*.whl")
    run_in(tmp_path, *pip, "--python", str(python), "install", "--quiet", "--no-deps", str(wheel))
    # The packages that ours stands on, from this environment. Its own .pth files aren't read.
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    vintk = str(tmp_path / "env" / "bin" / "vintk")
    where = run_in(empty, str(python), "-c", "import vintk_jax; print(vintk_jax.__file__)")
    assert str(tmp_path / "env") in where
    assert "vit_space" in run_in(empty, vintk, "configs")
    assert "jaxlib" in run_in(empty, vintk, "doctor")
    small = (
        "--config.search.num_candidates=3",
        "--config.search.population=2",
        "--config.inputs.num_images=4",
        "--config.inputs.image_size=32",
    )
    run_in(empty, vintk, "search", "--config", "vit_space", *small)
    assert (empty / "runs" / "vit_space" / "report.html").exists()
    where = write_folder(tmp_path / "images")
    run_in(empty, vintk, "adapt", f"--config.data.source={where}", *SMALL)
    assert (empty / "runs" / "adapt" / "adapt.html").exists()
    read = "import vintk_jax; print(vintk_jax.from_pretrained('runs/adapt/export').classes)"
    assert run_in(empty, str(python), "-c", read) == "('bright', 'dark')\n"
