"""The benchmark of the service in its small mode: every part runs, nothing is lost or mixed up."""

import json

import pytest
from serving.services import make_workdir

from benchmarks import service_load


@pytest.mark.slow
def test_small_mode(tmp_path, capfd):
    """On a tiny model; figures are written."""
    make_workdir(tmp_path / "tiny")
    words = ["--workdir", str(tmp_path / "tiny"), "--small", "--out", str(tmp_path)]
    service_load.main([*words, "--batch-sizes", "1", "8"])
    found = json.loads((tmp_path / "service_load-tiny.json").read_text())
    assert {"batches", "singles", "long", "overload", "restart"} <= set(found)
    assert (found["long"]["lost"], found["long"]["wrong"]) == (0, 0)
    assert found["overload"]["accepted"] > 0
    assert found["overload"]["others"] == 0
    assert "twice the load" in capfd.readouterr().out
