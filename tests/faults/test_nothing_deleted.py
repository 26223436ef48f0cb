"""An export replaces what an export has written, and nothing else."""

import json

import pytest

from vintk_jax.errors import UserError
from vintk_jax.exporting import folder as exports

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
        exports._check_ours(path)
    assert {child.name for child in path.iterdir()} == {"model.json", *files}


@pytest.mark.parametrize("plan", [OURS, {**OURS, "files": ["model.json", "16.stablehlo"]}])
def test_an_export_is_replaced(tmp_path, plan):
    """Also one from before there was a list, and what Python has compiled beside it."""
    path = made(tmp_path / "x", plan, "16.stablehlo")
    (path / "__pycache__").mkdir()
    exports._check_ours(path)
    new = made(tmp_path / ".new", OURS)
    exports._replace(path, new)
    assert [child.name for child in path.iterdir()] == ["model.json"]
    assert [child.name for child in tmp_path.iterdir()] == ["x"]


def test_an_empty_folder_and_none(tmp_path):
    """Are taken; a file is not."""
    exports._check_ours(tmp_path)
    exports._check_ours(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        exports._check_ours(tmp_path / "file")
