"""A search's and a training's results survive torn lines, other storages, and errors that pass."""

import errno
import json
import os

import optuna
import pytest

from vintk_jax import system_errors
from vintk_jax.errors import UserError
from vintk_jax.scored_candidate import ScoredCandidate
from vintk_jax.searching import results
from vintk_jax.searching.storage import open_study


def study_in(folder):
    sampler = optuna.samplers.RandomSampler(seed=0)
    return open_study(folder, "", "x", ["maximize"], sampler)[0]


def add(study, value):
    trial = study.ask({"a": optuna.distributions.IntDistribution(0, 9)})
    study.tell(trial, value)


def test_a_torn_line_under_a_living_worker(tmp_path):
    """Another process is killed in the middle of a line; the living one goes on, and whoever opens
    the journal afterwards finds all that was whole.
    """
    study = study_in(tmp_path)
    add(study, 1.0)
    with open(tmp_path / "journal.log", "ab") as file:
        file.write(b'{"op_code": 4, "worker_id": "somebody')
    add(study, 2.0)
    assert [trial.value for trial in study_in(tmp_path).trials] == [1.0, 2.0]
    for line in (tmp_path / "journal.log").read_text().splitlines():
        json.loads(line)


def lines(*numbers):
    return [ScoredCandidate(number, {}, float(number)) for number in numbers]


def test_candidates_are_never_fewer(tmp_path):
    """Of a storage that lost some in a power cut; torn lines go."""
    results.rewrite(tmp_path, lines(0, 1, 2))
    with open(tmp_path / "candidates.jsonl", "a") as file:
        file.write('{"number": 3, "sc')
    results.rewrite(tmp_path, lines(0, 2))
    assert [line.number for line in results.read(tmp_path)] == [0, 1, 2]


def test_a_line_behind_a_torn_one(tmp_path):
    """A process was killed in the middle of a line; the next line of a living one is whole."""
    results.append(tmp_path, *lines(0))
    with open(tmp_path / "candidates.jsonl", "a") as file:
        file.write('{"number": 1, "sc')
    results.append(tmp_path, *lines(2))
    assert [line.number for line in results.read(tmp_path)] == [0, 2]


@pytest.mark.parametrize(
    "line",
    [
        b"null",
        b"7",
        b"[1, 2]",
        b"{}",
        b'{"number": null}',
        b'{"number": "1"}',
        b'{"number": true}',
        b'{"number": 1, "arch": "\xff\xfe"}',
        b"\x00\x80",
        b"[" * 100_000,
    ],
    ids=lambda line: repr(line[:20]),
)
def test_a_line_that_is_no_candidate(tmp_path, caplog, line):
    """Damage doesn't end a search: the line is kept aside and told of, the candidates stay."""
    results.rewrite(tmp_path, lines(0, 1))
    path = tmp_path / "candidates.jsonl"
    first, second = path.read_bytes().splitlines()
    path.write_bytes(first + b"\n" + line + b"\n" + second + b"\n")
    assert [found.number for found in results.read(tmp_path)] == [0, 1]
    results.rewrite(tmp_path, lines(0, 2))
    assert [found.number for found in results.read(tmp_path)] == [0, 1, 2]
    assert (tmp_path / "candidates.left_out").read_bytes() == line + b"\n"
    assert "1 line(s)" in caplog.text
    caplog.clear()
    results.rewrite(tmp_path, lines(0, 2))
    assert not caplog.text


def test_another_storage(tmp_path):
    """That knows nothing doesn't empty the file."""
    results.rewrite(tmp_path, lines(0, 1))
    with pytest.raises(UserError, match="holds 2 scored candidates of another storage"):
        results.rewrite(tmp_path, [])
    assert len(results.read(tmp_path)) == 2
    (tmp_path / "new").mkdir()
    results.rewrite(tmp_path / "new", [])
    assert results.read(tmp_path / "new") == []


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.EIO, os.strerror(errno.EIO)), True),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), True),
        (PermissionError(errno.EACCES, "x"), True),
        (MemoryError(), True),
        (RuntimeError("DATA_LOSS: Input/output error while reading d/0"), True),
        (FileNotFoundError(errno.ENOENT, "x"), False),
        (ValueError("the numbers of its params are not those that were written"), False),
        (RuntimeError("FAILED_PRECONDITION: Error parsing zarr metadata"), False),
    ],
)
def test_what_may_pass(error, passes):
    """Says nothing about a file; what doesn't is damage."""
    assert system_errors.may_pass(error) == passes
    wrapped = RuntimeError("checkpoint")
    wrapped.__cause__ = error
    assert system_errors.may_pass(wrapped) == passes
