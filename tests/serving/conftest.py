"""One workdir and one service for all tests of a worker of pytest."""

import pytest
from serving.services import Running, make_workdir


@pytest.fixture(scope="session")
def workdir(tmp_path_factory):
    """A tiny model with an assigner."""
    folder = tmp_path_factory.mktemp("serving") / "tiny"
    make_workdir(folder)
    return folder


@pytest.fixture(scope="session")
def service(workdir):
    """It, served with small bounds and no token."""
    running = Running(
        workdir,
        "--config.limits.images=64",
        "--config.limits.pixels_m=2",
        "--config.limits.body_mb=2",
        "--config.limits.bodies_mb=3",
        "--config.limits.header_seconds=2",
        "--config.limits.body_seconds=2",
        "--config.limits.connections=40",
        "--config.decoding.memory_mb=200",
        "--config.drift.images=400",
        "--config.http.hosts=('served.example',)",
    )
    yield running
    running.end()
