"""A search that several machines would share: workers with workdirs of their own and one
PostgreSQL, started here on loopback.
"""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_search import ENVIRONMENT, ROOT, SEARCH

from vintk_jax.searching.locks import DatabaseLock, locks_by_database


def program(name):
    """Where one of PostgreSQL's programs lies; Debian keeps them out of the path."""
    there = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(there[-1]) if there else None)


def as_nobody(arguments):
    """The command as a user without rights, if this is root, as whom PostgreSQL doesn't run."""
    if os.getuid() != 0:
        return arguments
    return [
        "setpriv",
        "--reuid=nobody",
        "--regid",
        str(pwd.getpwnam("nobody").pw_gid),
        "--clear-groups",
        *arguments,
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of an empty database, for as long as the tests of this file run."""
    pytest.importorskip("psycopg", reason="pip install -r requirements-test.txt")
    if not program("initdb") or not program("postgres"):
        pytest.skip("PostgreSQL isn't installed: apt-get install postgresql")
    # pytest's own folders aren't open to other users
    folder = Path("/tmp") / f"vintk-pg-{os.getpid()}"
    folder.mkdir()
    try:
        if os.getuid() == 0:
            shutil.chown(folder, "nobody")
        data = str(folder / "data")
        subprocess.run(
            as_nobody([program("initdb"), "-D", data, "-U", "vintk", "-A", "trust", "-N"]),
            check=True,
            capture_output=True,
            cwd=folder,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
        running = subprocess.Popen(
            as_nobody([program("postgres"), "-D", data, *options]),
            cwd=folder,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"postgresql+psycopg://vintk@127.0.0.1:{port}/postgres"
        running.send_signal(signal.SIGINT)  # without waiting for connections to end
        running.wait(timeout=60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_which_storages_have_locks():
    """By the dialect, whatever the driver."""
    assert locks_by_database("postgresql+psycopg://a@b/c")
    assert locks_by_database("mysql://a@b/c")
    assert not locks_by_database("redis://a:6379")
    assert not locks_by_database("")


def test_the_lock_is_held_by_one(server):
    """It may be entered again by its holder; another waits; it is free when its holder's connection
    is gone.
    """
    mine = DatabaseLock(server, "a")
    other = DatabaseLock(server, "a")
    waits = "SET lock_timeout = '200ms'"
    with mine, mine:
        with DatabaseLock(server, "b"):
            pass
        other._connection = other._engine.connect()
        other._connection.exec_driver_sql(waits)
        with pytest.raises(Exception, match="lock timeout"), other:
            pass
    other.__enter__()
    other._connection.close()  # as a kill would
    with mine:
        pass


@pytest.mark.slow
def test_three_workers_share_a_search(server, tmp_path):
    """Each with a workdir of its own, as on three machines: together they score what one process
    does, nothing twice, and all have its best.json.
    """

    def start(name, *more):
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "vintk_jax.search",
                *SEARCH,
                "--workdir",
                tmp_path / name,
                *more,
            ],
            cwd=ROOT,
            env=ENVIRONMENT,
        )

    assert start("alone").wait(timeout=300) == 0
    names = ["first", "second", "third"]
    workers = [start(name, f"--config.search.storage={server}") for name in names]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0, 0]

    def read(name):
        return json.loads((tmp_path / name / "best.json").read_text())

    def rows(name):
        return [
            json.loads(line)
            for line in (tmp_path / name / "candidates.jsonl").read_text().splitlines()
        ]

    def scores(name):
        return {json.dumps(row["arch"]): row["score"] for row in rows(name)}

    for name in names:
        assert read(name)["arch"] == read("alone")["arch"]
        assert scores(name) == scores("alone")
        assert len(rows(name)) == len(scores(name))
