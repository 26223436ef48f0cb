"""What the system refuses ends in one line with the path and what to do, and exit code 2."""

import errno
import io
import os
import shutil
import subprocess
import sys

import pytest
from small_search import ROOT

from vintk_jax import command_line
from vintk_jax.report.console import make_console


def ended(capsys, error):
    """What a command that raises this says, and its exit code."""

    def main(argv):
        raise error

    with pytest.raises(SystemExit) as caught:
        command_line.run(main, [])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said, caught.value.code


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space left for /disk/x. Free some"),
        (errno.EDQUOT, "quota is used up at /disk/x"),
        (errno.EROFS, "/disk/x can't be written: its file system is read-only"),
        (errno.EACCES, "/disk/x can't be used: permission denied"),
        (errno.ENOTDIR, "/disk/x lies below a file"),
        (errno.EEXIST, "/disk/x exists already, and is a file"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EIO, "The disk failed at /disk/x"),
    ],
)
def test_errors_of_the_system(capsys, number, words):
    said, code = ended(capsys, OSError(number, os.strerror(number), "/disk/x"))
    assert words in said
    assert said.startswith("error: ")
    assert code == 2


def wrapped(how):
    cause = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/x")
    if how == "group":
        return ExceptionGroup("several", [ValueError("another"), cause])
    if how == "words":
        return RuntimeError("INTERNAL: write failed: No space left on device\nat line 3")
    try:
        try:
            raise cause
        except OSError as error:
            raise RuntimeError("checkpoint") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize("how", ["cause", "group", "words"])
def test_errors_that_libraries_wrap(capsys, how):
    """Raised from another, in a group (of threads), or by a library in its own type."""
    said, code = ended(capsys, wrapped(how))
    assert "no space left" in said
    assert code == 2


def test_other_errors_are_not_hidden():
    """A mistake of ours keeps its traceback."""

    def main(argv):
        raise OSError(errno.ECHILD, "no children")

    with pytest.raises(OSError, match="no children"):
        command_line.run(main, [])


def test_real_ones(capsys, tmp_path):
    """A folder below a file, a file in the place of a folder."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "run", tmp_path / "file"):

        def main(argv, path=path):
            path.mkdir(parents=True, exist_ok=True)

        with pytest.raises(SystemExit):
            command_line.run(main, [])
        said = capsys.readouterr().err
        assert str(tmp_path / "file") in said
        assert said.count("\n") == 1


@pytest.mark.parametrize("path", ["runs/[v2]", "runs/[/red]", "runs/:smile:", "[bold]"])
def test_paths_are_printed_as_they_are(path):
    """No markup, no pictures."""
    console = make_console(file=io.StringIO(), width=80)
    console.print(f"Written to {path}.")
    assert console.file.getvalue() == f"Written to {path}.\n"


TINY = [
    "--config.model.embed_dim=16",
    "--config.model.depth=1",
    "--config.model.num_heads=2",
    "--config.data.image_size=16",
    "--config.data.batch_size=4",
    "--config.optimizer.steps=3",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "size"),
    [
        (["train", "--config", "configs/revit_digits.py", *TINY], "300k"),
        (["search", "--config", "configs/vit_space.py", "--config.inputs.image_size=16"], "8k"),
    ],
)
def test_a_full_disk(tmp_path, words, size):
    """One line of error from a real one, whatever the threads of libraries were writing."""
    mounted = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(tmp_path)]
    if not shutil.which("mount") or subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        command = [sys.executable, "-m", f"vintk_jax.{words[0]}", *words[1:]]
        command += ["--workdir", str(tmp_path / "run")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: There is no space left for a file in {tmp_path}")
