"""Where a search's trials live: Optuna's journal file in the workdir, or any storage that Optuna has a URL for."""

import os
import warnings
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from vintk_jax.errors import UserError

optuna.logging.set_verbosity(optuna.logging.WARNING)


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line that a killed process left unfinished; the caller holds the journal's lock."""
    if not path.exists():
        return
    with open(path, "rb+") as f:
        data = f.read()
        if data and not data.endswith(b"\n"):
            f.truncate(data.rfind(b"\n") + 1)
            f.flush()
            os.fsync(f.fileno())


def open_study(
    workdir: Path, lock: FileLock, url: str, name: str, directions: list[str], sampler: optuna.samplers.BaseSampler
) -> optuna.Study:
    """Create the study or join it.

    Args:
        lock: guards the workdir, the journal included: the operating system frees it when its holder dies, where Optuna's own lock would
            stall half a minute after a SIGKILL; and whoever holds it already, for a claim of several writes, doesn't lock for each.
        url: an Optuna storage URL; empty for the journal file in the workdir.
        name: of the study: the same for all that share it, another for every other config.
        directions: "maximize" or "minimize" per objective.

    Raises:
        UserError: for a storage that can't be opened.
    """
    try:
        if url:
            storage = optuna.storages.get_storage(url)
        else:
            journal = workdir / "journal.log"
            with lock:
                _drop_torn_line(journal)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        return optuna.create_study(storage=storage, study_name=name, directions=directions, sampler=sampler, load_if_exists=True)
    except Exception as error:  # drivers raise types of their own
        where = url or str(workdir / "journal.log")
        raise UserError(
            f"The search's storage {where} could not be opened: {type(error).__name__}: {str(error).strip() or 'no reason given'}. "
            "A damaged journal can be moved away, and the search started anew."
        ) from error
