"""The Colab notebook, from top to bottom, with small settings on a CPU."""

import os
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "launch" / "colab.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    """Every cell, in a kernel of this Python; a search, a training, a picture and an export are
    left.
    """
    nbformat, nbclient = (
        pytest.importorskip(name, reason="pip install -r requirements-test.txt")
        for name in ("nbformat", "nbclient")
    )
    monkeypatch.setenv("VINTK_SMALL", "1")
    monkeypatch.setenv("VINTK_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in [name for name in os.environ if name.startswith("JAX_") or name == "XLA_FLAGS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # committed without what a run prints
    assert not any(cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
    ).execute()
    runs = tmp_path / "runs"
    for left in (
        "search/best.json",
        "revit/metrics.jsonl",
        "revit/adaptive.png",
        "revit/export/model.json",
    ):
        assert (runs / left).exists(), left
    shown = [
        output for cell in notebook.cells for output in cell.get("outputs", ()) if "data" in output
    ]
    assert any("image/png" in output["data"] for output in shown)
