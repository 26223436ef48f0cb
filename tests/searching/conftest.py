"""A search that is shared by tests."""

import pytest
from searching.searches import search_process


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The workdir and the output of a search that nothing has disturbed; to be left as it is."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    done = search_process(workdir)
    assert done.returncode == 0, done.stderr
    return workdir, done
