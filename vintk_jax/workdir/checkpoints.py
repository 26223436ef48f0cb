"""Checkpoints by orbax: written beside the training, whole or not at all. A few of the last and the
best are kept (`KEPT`).

Each holds the state (parameters, optimiser, running mean, step: with the seed, step is also the
data's position and the random keys') and a record of what model it is of, with a checksum over all
numbers: orbax notices a missing file, not a changed one.
"""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from vintk_jax import system_errors
from vintk_jax.errors import UserError
from vintk_jax.workdir.state import State

LAST = "last"
BEST = "best"
KEPT = {LAST: 2, BEST: 1}  # so many checkpoints of each kind


def checksum(tree: Any) -> int:
    """CRC-32 over the bytes of all arrays in order; 0 where another process holds part of them."""
    total = 0
    if jax.process_count() == 1:
        for leaf in jax.tree.leaves(tree):
            total = zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).reshape(-1).data, total)
    return total


def _parts(state: State) -> dict[str, Any]:
    """What is written under names of their own, so that predicting needs to read the parameters
    only.
    """
    return {
        "params": state.params,
        "optimizer": state.opt_state,
        **({} if state.ema is None else {"ema": state.ema}),
    }


class RestoredParams(NamedTuple):
    """Parameters, the record that they were written with, and the step that they are of: an older
    one than the newest where that can't be read.
    """

    params: Any
    meta: dict[str, Any]
    step: int


class Checkpoints:
    """The checkpoints of one kind in a workdir.

    Args:
        folder: where they are, one folder a step.
        model: a description of the model; a checkpoint of another is refused.
        keep: how many of the last to keep; None: as `KEPT` says for a folder of this name.
        read_only: nothing is written, removed or moved aside.
    """

    def __init__(
        self,
        folder: Path,
        model: dict[str, Any],
        *,
        keep: int | None = None,
        read_only: bool = False,
    ):
        self._folder = folder.absolute()
        self._model = model
        self._read_only = read_only
        # Two managers at work at once would meet at each other's barriers without names of their
        # own.
        apart = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=folder.name)
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT.get(folder.name) if keep is None else keep,
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
            multiprocessing_options=apart,
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    @staticmethod
    def steps_in(folder: Path) -> list[int]:
        """The steps that a folder has checkpoints of, the latest first."""
        steps = (int(child.name) for child in folder.iterdir() if child.name.isdigit())
        return sorted(steps, reverse=True)

    @staticmethod
    def classes_in(folder: Path) -> tuple[str, ...]:
        """The names of the outputs, as the latest readable record in a folder of checkpoints has
        them.

        Raises:
            UserError: when none can be read.
        """
        steps = Checkpoints.steps_in(folder)
        for step in steps:
            try:
                return tuple(
                    json.loads((folder / str(step) / "meta" / "metadata").read_text())["classes"]
                )
            except (OSError, ValueError, KeyError):
                continue
        raise UserError(f"None of the {len(steps)} checkpoint(s) in {folder} can be read.")

    def save(self, state: State, **record: Any) -> None:
        """Write a state, under its step, with a record for people; returns while it is being
        written.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        parts = _parts(state)
        meta = {
            "model": self._model,
            "checksums": {name: checksum(part) for name, part in parts.items()},
            **record,
        }
        items = {name: ocp.args.StandardSave(part) for name, part in parts.items()}
        self._manager.save(step, args=ocp.args.Composite(meta=ocp.args.JsonSave(meta), **items))

    def restore(
        self, like: State, say: Callable[[str], None]
    ) -> tuple[State, dict[str, Any]] | None:
        """The latest state that can be read, and its record; None without any.

        A checkpoint that can't be read is moved aside, and the one before it taken: training from
        there ends the same.

        Args:
            like: a state of shapes and shardings.

        Raises:
            UserError: for checkpoints of another model, or when there are some and none can be
                read.
        """
        found = self._first_readable(lambda meta: _parts(like), say)
        if found is None:
            self._refuse_anew()
            return None
        step, parts, meta = found

        def place(number):
            return jax.device_put(jnp.int32(number), like.step.sharding)

        return State(place(step), parts["params"], parts["optimizer"], parts.get("ema")), meta

    def restore_params(self, like: Any, say: Callable[[str], None]) -> "RestoredParams":
        """The parameters to predict with (the running mean where there is one).

        Args:
            like: parameters of shapes and shardings.

        Raises:
            UserError: as `restore`; or without any checkpoint.
        """
        steps = self._manager.all_steps()
        if not steps:
            raise UserError(
                f"There are no checkpoints in {self._folder}. `python -m vintk_jax.train` writes "
                "them."
            )

        def used(meta):
            """The running mean where one was written, whether or not it is still there."""
            return {"ema" if "ema" in meta["checksums"] else "params": like}

        step, parts, meta = self._first_readable(used, say)
        return RestoredParams(next(iter(parts.values())), meta, step)

    def _first_readable(
        self, like: Callable[[dict[str, Any]], dict[str, Any]], say: Callable[[str], None]
    ) -> tuple[int, dict[str, Any], dict[str, Any]] | None:
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                meta = self._manager.restore(
                    step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
                ).meta
                self._check(step, meta)
                parts = like(meta)
                wanted = {name: ocp.args.StandardRestore(part) for name, part in parts.items()}
                read = self._manager.restore(step, args=ocp.args.Composite(**wanted))
                parts = {name: read[name] for name in parts}
                changed = [
                    name
                    for name, part in parts.items()
                    if meta["checksums"][name] and checksum(part) != meta["checksums"][name]
                ]
                if changed:
                    raise ValueError(
                        f"the numbers of its {' and '.join(changed)} are not those that were "
                        "written"
                    )
                return step, parts, meta
            except UserError:
                raise
            except Exception as error:  # orbax and tensorstore raise many types
                if system_errors.may_pass(error):
                    raise UserError(
                        f"The checkpoint {self._folder / str(step)} couldn't be read: "
                        f"{system_errors.explained(error) or error} It was left as it is; the same "
                        "command tries again."
                    ) from error
                words = (str(error).strip().splitlines() or [type(error).__name__])[0]
                say(
                    f"The checkpoint {self._folder / str(step)} is corrupt "
                    f"({words}).{self._set_aside(step)}"
                )
        if steps:
            raise UserError(
                f"None of the checkpoints in {self._folder} can be read. Choose another --workdir "
                "to start anew."
            )
        return None

    def _refuse_anew(self) -> None:
        """A run doesn't begin anew beside checkpoints that were set aside: it would overwrite what
        can perhaps be mended.
        """
        aside = sorted(self._folder.parent.glob(f"corrupt-{self._folder.name}-*"))
        if aside:
            raise UserError(
                f"There are no checkpoints in {self._folder}, but {len(aside)} beside it that were "
                f"set aside as corrupt ({aside[0].name}). Choose another --workdir to start anew, "
                "or move them away."
            )

    def _check(self, step: int, meta: dict[str, Any]) -> None:
        was = meta["model"]
        differ = [
            f"{k} was {was.get(k)!r}, now {self._model.get(k)!r}"
            for k in {**was, **self._model}
            if was.get(k) != self._model.get(k)
        ]
        if differ:
            raise UserError(
                f"The checkpoint {self._folder / str(step)} is of another model: "
                f"{'; '.join(differ)}."
            )

    def _set_aside(self, step: int) -> str:
        if self._read_only:
            return ""
        aside = self._folder.parent / f"corrupt-{self._folder.name}-{step}"
        if jax.process_index() == 0:
            shutil.rmtree(aside, ignore_errors=True)
            shutil.move(self._folder / str(step), aside)
        self._manager.reload()
        return f" It was moved to {aside}; the one before it is taken."

    def close(self) -> None:
        """Wait until all is written."""
        self._manager.wait_until_finished()
        self._manager.close()
