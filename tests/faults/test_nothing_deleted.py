"""An export replaces what an export has written, an import what was imported, and nothing else."""

import errno
import json
import os
import shutil
from pathlib import Path

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.errors import UserError
from vintk_jax.exporting import folder as exports
from vintk_jax.exporting import replace
from vintk_jax.inference.predictor import Predictor
from vintk_jax.tasks.model_spec import ModelSpec
from vintk_jax.weights import workdir as imports
from vintk_jax.workdir.checkpoints import Checkpoints
from vintk_jax.workdir.state import State

OURS = {"programs": {"16": {"stablehlo": "16.stablehlo"}}, "formats": ["stablehlo"]}
OURS |= {"lengths": ["16"], "classes": ["a"]}


def made(path, plan, *files):
    path.mkdir()
    (path / "model.json").write_text(json.dumps(plan))
    for name in files:
        (path / name).write_text("")
    return path


@pytest.mark.parametrize(
    ("plan", "files", "strange"),
    [
        ({"format": "layers-model"}, ["group1-shard1of1.bin"], "group1-shard1of1.bin, model.json"),
        ([1, 2], [], "model.json"),
        (OURS, ["16.stablehlo", "load.py", "notes.txt"], "notes.txt"),
        ({**OURS, "files": ["model.json", "load.py"]}, ["load.py", "16.stablehlo"], "16.stablehlo"),
        (OURS, ["a", "b", "c", "d", "e", "f", "g"], "a, b, c, d, e and 2 more"),
    ],
    ids=["tensorflow.js", "a list", "notes", "not in the list", "many"],
)
def test_what_is_not_ours_is_refused(tmp_path, plan, files, strange):
    """By name; and it is all there afterwards."""
    path = made(tmp_path / "x", plan, *files)
    with pytest.raises(UserError, match=f"holds {strange}, which no export has written"):
        replace._check_ours(path)
    assert {child.name for child in path.iterdir()} == {"model.json", *files}


@pytest.mark.parametrize("plan", [OURS, {**OURS, "files": ["model.json", "16.stablehlo"]}])
def test_an_export_is_replaced(tmp_path, plan):
    """Also one from before there was a list, and what Python has compiled beside it."""
    path = made(tmp_path / "x", plan, "16.stablehlo")
    (path / "__pycache__").mkdir()
    replace._check_ours(path)
    new = made(tmp_path / ".new", OURS)
    replace.replace(path, new)
    assert [child.name for child in path.iterdir()] == ["model.json"]
    assert [child.name for child in tmp_path.iterdir()] == ["x"]


def test_an_empty_folder_and_none(tmp_path):
    """Are taken; a file is not."""
    replace._check_ours(tmp_path)
    replace._check_ours(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        replace._check_ours(tmp_path / "file")


MODEL = ModelSpec(nn.Dense(1), (None,), 32, "own")


def export(path, **about):
    """A whole export without programs."""
    exports.write(path, Predictor(MODEL, {}, ("a",)), None, {}, {"note": 0, **about})
    return path


def contents(path):
    """All files below a folder, by name."""
    files = [child for child in path.rglob("*") if child.is_file()]
    return {str(child.relative_to(path)): child.read_bytes() for child in files}


def edit(path):
    """A line of the user's in the loader."""
    (path / "load.py").write_text((path / "load.py").read_text() + "# mine\n")


def edit_plan(path):
    """Another name of a class in model.json."""
    plan = json.loads((path / "model.json").read_text())
    (path / "model.json").write_text(json.dumps({**plan, "classes": ["b"]}))


def in_its_place(path):
    """A folder by the loader's name, with a file in it."""
    (path / "load.py").unlink()
    (path / "load.py").mkdir()
    (path / "load.py" / "mine.txt").write_text("mine")


def linked(path):
    """A link by the loader's name."""
    shutil.move(path / "load.py", path.parent / "elsewhere.py")
    (path / "load.py").symlink_to(path.parent / "elsewhere.py")


def beside_compiled(path):
    """A file and a folder where Python keeps what it has compiled."""
    (path / "__pycache__" / "deep.pyc").mkdir(parents=True)
    (path / "__pycache__" / "load.cpython-311.pyc").write_text("compiled")
    (path / "__pycache__" / "mine.txt").write_text("mine")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit, r"load\.py \(changed since the export\)"),
        (edit_plan, r"model\.json \(changed since the export\)"),
        (in_its_place, r"load\.py"),
        (linked, r"load\.py"),
        (beside_compiled, r"__pycache__/deep\.pyc, __pycache__/mine\.txt"),
    ],
)
def test_what_was_changed_in_an_export_is_refused(tmp_path, change, named):
    """By name; and it is all there afterwards."""
    path = export(tmp_path / "x")
    change(path)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=f"x holds {named}, which no export has written"):
        export(path, note=1)
    assert contents(tmp_path) == before


def test_an_export_from_before_checksums(tmp_path):
    """Is known by its names; what stands there has to be files."""
    path = made(tmp_path / "x", {**OURS, "files": ["model.json", "load.py"]}, "load.py")
    in_its_place(path)
    with pytest.raises(UserError, match=r"holds load\.py, which no export"):
        export(path)
    shutil.rmtree(path / "load.py")
    export(path)
    assert json.loads((path / "model.json").read_text())["note"] == 0


def test_an_export_over_an_export(tmp_path):
    """With what Python has compiled beside it; the new one can be replaced in its turn."""
    path = export(tmp_path / "x")
    (path / "__pycache__").mkdir()
    (path / "__pycache__" / "load.cpython-311.pyc").write_text("compiled")
    for note in (1, 2.5):
        export(path, note=note, nested={"a": (1, None)})
        plan = json.loads((path / "model.json").read_text())
        assert plan["note"] == note
        assert set(plan["checksums"]) == set(plan["files"]) == set(os.listdir(path))
    assert os.listdir(tmp_path) == ["x"]


def test_what_comes_while_an_export_is_made(tmp_path):
    """Is refused as ever, and the folder has its name again."""
    path = export(tmp_path / "x")
    new = made(tmp_path / ".new", OURS)
    edit(path)
    before = contents(path)
    with pytest.raises(UserError, match=r"x holds load\.py"):
        replace.replace(path, new)
    assert contents(path) == before
    assert sorted(os.listdir(tmp_path)) == [".new", "x"]


def test_an_export_into_a_link(tmp_path):
    """Goes where it leads, also where nothing is yet; links in a circle are refused."""
    target = tmp_path / "disk" / "target"
    link = tmp_path / "link"
    link.symlink_to(target)
    for note in (0, 1):
        export(link, note=note)
        assert link.is_symlink()
        assert json.loads((target / "model.json").read_text())["note"] == note
    assert sorted(os.listdir(tmp_path)) == ["disk", "link"]
    assert os.listdir(tmp_path / "disk") == ["target"]
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(UserError, match="leads back to itself"):
        export(circle)


def test_the_folder_that_a_command_runs_in(tmp_path, monkeypatch):
    """Is not replaced, nor one above it; nothing is left behind."""
    (tmp_path / "here" / "in").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "in")
    for path in (Path(), Path(".."), tmp_path / "here" / "in"):
        with pytest.raises(UserError, match="the folder that this command runs in or one above"):
            export(path)
    assert [child.name for child in tmp_path.rglob("*")] == ["here", "in"]
    export(Path("out"))
    assert os.listdir() == ["out"]


def test_a_mount_point(tmp_path, monkeypatch):
    """Can't be moved: one message, and nothing is left behind."""
    path = export(tmp_path / "x")
    replace = os.replace

    def busy(source, target):
        if Path(source) == path:
            raise OSError(errno.EBUSY, "Device or resource busy", str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    with pytest.raises(UserError, match=r"can't be replaced\. Name a folder in it"):
        export(path)
    assert os.listdir(tmp_path) == ["x"]


PARAMS = {"w": np.ones(3, np.float32)}
OTHERS = {"w": np.zeros(3, np.float32)}


def imported(workdir, params, classes=("a",)):
    """Whether weights came in the place of others."""
    return imports.write_checkpoints(workdir, MODEL, params, classes)


def train(folder, *steps, optimizer, **record):
    """Checkpoints of a training."""
    checkpoints = Checkpoints(folder, MODEL.describe(), keep=3)
    for step in steps:
        state = State(jnp.int32(step), PARAMS, optimizer, None)
        checkpoints.save(state, classes=["a"], **record)
    checkpoints.close()


def both(workdir):
    """The folders of checkpoints."""
    return [workdir / "checkpoints" / kind for kind in ("best", "last")]


def test_damaged_checkpoints_of_a_training_are_left(tmp_path):
    """The record of the first step is cut, and the workdir has no config."""
    for folder in both(tmp_path):
        train(folder, 2, 3, optimizer={"m": np.ones(3)}, best=0.5)
        (folder / "2" / "meta" / "metadata").write_text("{")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="holds checkpoints of a training"):
        imported(tmp_path, OTHERS)
    assert contents(tmp_path) == before


def test_a_training_of_no_steps_is_left(tmp_path):
    """Its optimiser may hold the same numbers as an import's; its record says more."""
    train(both(tmp_path)[1], 0, optimizer={"count": np.int32(0)}, best=0.5)
    before = contents(tmp_path)
    with pytest.raises(UserError, match="last holds checkpoints of a training"):
        imported(tmp_path, OTHERS)
    assert contents(tmp_path) == before  # nothing was written to best, either


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"model": {}}', '{"checksums": 3}'])
def test_a_record_that_proves_nothing(tmp_path, content):
    """Is said, and its checkpoint left."""
    imported(tmp_path, PARAMS)
    record = both(tmp_path)[0] / "0" / "meta" / "metadata"
    record.unlink() if content is None else record.write_text(content)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"Expected the record of imported weights in .*metadata"):
        imported(tmp_path, OTHERS)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_record_that_cannot_be_read_now(tmp_path, monkeypatch, number):
    """Is no proof of anything; the next try replaces it."""
    imported(tmp_path, PARAMS)
    before = contents(tmp_path)
    read = Path.read_text

    def failing(path, *arguments, **options):
        if path.name == "metadata":
            raise OSError(number, os.strerror(number), str(path))
        return read(path, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", failing)
        with pytest.raises(UserError, match="was left as it is; the same command tries again"):
            imported(tmp_path, OTHERS)
    assert contents(tmp_path) == before
    assert imported(tmp_path, OTHERS)


def test_files_beside_an_imported_checkpoint_stay(tmp_path):
    """Only the step is replaced."""
    assert not imported(tmp_path, PARAMS)
    for folder in both(tmp_path):
        (folder / "notes.txt").write_text("mine")
        (folder / "plots").mkdir()
        (folder / "plots" / "a.png").write_text("mine")
    old = contents(tmp_path)["checkpoints/best/0/meta/metadata"]
    assert imported(tmp_path, OTHERS)
    assert contents(tmp_path)["checkpoints/best/0/meta/metadata"] != old
    for folder in both(tmp_path):
        assert sorted(os.listdir(folder)) == ["0", "notes.txt", "plots"]
        assert (folder / "plots" / "a.png").read_text() == "mine"
    assert not imported(tmp_path, OTHERS)


def test_an_import_that_a_killed_run_left_unfinished(tmp_path):
    """Under orbax's name for it, in the middle of writing or of being replaced: done again."""
    imported(tmp_path, PARAMS)
    best, _ = both(tmp_path)
    (best / "0").rename(best / "0.orbax-checkpoint-tmp")
    (best / "0.orbax-checkpoint-tmp" / "meta" / "metadata").unlink()
    assert imported(tmp_path, OTHERS)  # what last held
    assert os.listdir(best) == ["0"]
    shutil.copytree(best / "0", best / "0.orbax-checkpoint-tmp")
    assert imported(tmp_path, PARAMS)
    assert os.listdir(best) == ["0"]


def test_a_training_that_was_killed_in_its_first_checkpoint(tmp_path):
    """Is one: an import has no other step than 0."""
    imported(tmp_path, PARAMS)
    for folder in both(tmp_path):
        (folder / "0").rename(folder / "16.orbax-checkpoint-tmp")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="holds checkpoints of a training"):
        imported(tmp_path, OTHERS)
    assert contents(tmp_path) == before
