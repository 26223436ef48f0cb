"""Where a search's trials live: Optuna's journal file in the workdir, or any storage that Optuna
has a URL for.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from vintk_jax.errors import UserError
from vintk_jax.files import drop_torn_line
from vintk_jax.searching.locks import Lock, lock_of

optuna.logging.set_verbosity(optuna.logging.WARNING)


class _Journal(JournalFileBackend):
    """Optuna's journal file without an fsync for each of a trial's thirty entries, which took 8 ms
    a candidate.

    What is written survives the process that wrote it, also after kill -9. If the machine itself
    loses power, the last entries may be lost, and the search scores those candidates again.
    """

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Append entries, a line each, under the lock. A process that was killed while it wrote has
        left half a line; the entries go behind the last whole one.
        """
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        self._lock.acquire()
        try:
            drop_torn_line(Path(self._file_path))
            with open(self._file_path, "ab") as file:
                file.write(lines.encode())
        finally:
            self._lock.release()


def _journal(path: Path, lock: Lock) -> JournalStorage:
    drop_torn_line(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return JournalStorage(_Journal(str(path), lock_obj=lock))


def open_study(
    workdir: Path, url: str, name: str, directions: list[str], sampler: optuna.samplers.BaseSampler
) -> tuple[optuna.Study, Lock]:
    """Create the study or join it. Also returns its lock (`locks.lock_of`), which guards the
    journal, too.

    Optuna's own lock of a journal would block for half a minute after a SIGKILL. And a process that
    holds our lock for a claim of several writes need not lock for each of them.

    Args:
        url: an Optuna storage URL; empty for the journal file in the workdir.
        name: of the study: the same for all that share it, another for every other config.
        directions: "maximize" or "minimize" per objective.

    Raises:
        UserError: for a storage that can't be opened.
    """
    try:
        lock = lock_of(workdir, url, name)
        with lock:  # workers that start at once would each create a database's tables
            storage = (
                optuna.storages.get_storage(url) if url else _journal(workdir / "journal.log", lock)
            )
            return optuna.create_study(
                storage=storage,
                study_name=name,
                directions=directions,
                sampler=sampler,
                load_if_exists=True,
            ), lock
    except Exception as error:  # drivers raise types of their own
        where = url or str(workdir / "journal.log")
        raise UserError(
            f"The search's storage {where} could not be opened: {type(error).__name__}: "
            f"{str(error).strip() or 'no reason given'}. "
            "A damaged journal can be moved away, and the search started anew."
        ) from error
