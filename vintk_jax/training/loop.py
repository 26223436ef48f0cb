"""The training loop: data, steps, evaluation, checkpoints; goes on where a killed run was."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vintk_jax.data import loader
from vintk_jax.errors import UserError, first_of
from vintk_jax.report.progress import COMPILING, Progress
from vintk_jax.training import sharding
from vintk_jax.training.evaluator import Evaluator
from vintk_jax.training.setup import Setup
from vintk_jax.training.step import make_train_step
from vintk_jax.workdir.checkpoints import BEST, LAST, Checkpoints
from vintk_jax.workdir.metrics import Metrics
from vintk_jax.workdir.state import State


def fit(
    setup: Setup,
    workdir: Path,
    progress: Progress,
    say: Callable[[str], None],
    read_weights: Callable[[], Any] | None = None,
) -> tuple[dict[str, float], Any]:
    """Train to the end, from the last checkpoint if there is one; the measure of every length at
    the end, and the parameters.

    Args:
        read_weights: gives the variables that a new run begins with (`weights.weights_reader`);
            None draws them.

    Raises:
        UserError: when the loss is no number, or a checkpoint can't be used; what is saved is kept.
    """
    saved = _Saved(setup, workdir)
    progress.phase("restoring")
    restored = saved.restore(say)
    state = setup.initial(read_weights) if restored is None else restored
    begun = int(state.step)
    progress.update(begun)
    step = compiled_step(setup)
    frozen = sharding.replicate(setup.mesh, setup.task.objective.frozen)
    evaluate = Evaluator(setup, setup.task.test)
    eval_every = max(round(setup.config.checkpoints.every_epochs * setup.steps_per_epoch), 1)
    with Metrics(workdir, begun, writing=jax.process_index() == 0) as metrics:

        def evaluate_and_save(done: int) -> None:
            progress.phase("evaluating")
            measures, by_class = evaluate(state.evaluated_params)
            details = {f"by_class_{name}": values for name, values in by_class.items()}
            metrics.write(done, **{saved.measure: measures}, **details)
            saved.save(state, measures)
            progress.update(done, best=saved.best_measure)

        progress.phase(COMPILING)
        data = _Data(setup, begun)
        measured = None
        for done in range(begun + 1, setup.steps + 1):
            state, measured = step(state, data.next_batch(measured), frozen)
            if done % setup.config.log_every == 0 or done in (begun + 1, setup.steps):
                values = _checked(jax.device_get(measured), setup, done)
                values["learning_rate"] = float(setup.schedule(done - 1))
                values |= data.speed()
                metrics.write(done, **values)
                progress.update(done, note=_in_words(values))
                progress.phase("training")
            if done % eval_every == 0 or done == setup.steps:
                evaluate_and_save(done)
                data.restart_clock()
        if not setup.steps and restored is None:
            evaluate_and_save(0)
        progress.phase("writing the checkpoint")
        saved.close()
    return saved.measures, state.evaluated_params


def compiled_step(setup: Setup) -> Callable:
    """The step of a training, to be compiled when it is first called."""
    step = make_train_step(
        setup.spec.model,
        setup.spec.grids,
        setup.optimizer,
        setup.recipe,
        setup.config.seed,
        setup.mesh if sharding.shares(setup.mesh) else None,
    )
    placed = jax.tree.map(lambda leaf: leaf.sharding, setup.like)
    return jax.jit(step, donate_argnums=0, out_shardings=(placed, None))


class _Data:
    """The batches of a run from a step on, and how long the run waits for them."""

    def __init__(self, setup: Setup, begun: int):
        self._mesh = setup.mesh
        self._batch_size = setup.config.data.batch_size
        self._batches = self._from_step(setup, begun)
        self.restart_clock()

    @staticmethod
    def _from_step(setup: Setup, begun: int) -> Iterator[Any]:
        batches = loader.train_batches(
            setup.task.train,
            setup.task.augment,
            batch_size=setup.config.data.batch_size,
            seed=setup.config.seed,
            host=jax.process_index(),
            hosts=jax.process_count(),
        )
        if setup.steps - begun >= setup.steps_per_epoch:  # every image will be asked for
            setup.task.train.ahead()
        return loader.from_step(batches, begun, setup.config.data.threads)

    def restart_clock(self) -> None:
        """Count from here on."""
        self._started = time.perf_counter()
        self._waited = 0.0
        self._steps = 0

    def next_batch(self, running: dict[str, jax.Array] | None) -> Any:
        """On the devices.

        Args:
            running: what the step before gives. Steps are handed over ahead of time: as long as one
                runs, nobody waits for data. One that ends in the meantime counts as if it had ended
                before.
        """
        asked = time.perf_counter()
        batch = sharding.put_batch(self._mesh, next(self._batches))
        if running is None or running["loss"].is_ready():
            self._waited += time.perf_counter() - asked
        self._steps += 1
        return batch

    def speed(self) -> dict[str, float]:
        """Images a second, and the share of the time that was waited, since the clock began; begins
        it anew.
        """
        elapsed = time.perf_counter() - self._started
        values = {
            "images_per_second": round(self._steps * self._batch_size / elapsed, 1),
            "waiting_for_data": round(self._waited / elapsed, 4),
        }
        self.restart_clock()
        return values


class _Saved:
    """The last and the best checkpoints of a run, and what their records say.

    Attributes:
        measure: the name of the objective's measure.
        measures: of every length, at the last evaluation.
        best_measure: of the longest length, the best so far.
    """

    def __init__(self, setup: Setup, workdir: Path):
        folder = workdir / "checkpoints"
        model = setup.spec.describe()
        self._last = Checkpoints(folder / LAST, model)
        self._best = Checkpoints(folder / BEST, model)
        self._setup = setup
        self._workdir = workdir
        self._classes = list(setup.task.train.classes)
        self._data = setup.task.train.identity
        self.measure = setup.task.objective.measure
        self.measures: dict[str, float] = {}
        self.best_measure = -1.0

    def restore(self, say: Callable[[str], None]) -> State | None:
        """The state of the last checkpoint; None without any.

        Raises:
            UserError: for a checkpoint that can't be used, or one of other classes.
        """
        found = self._last.restore(self._setup.like, say)
        if found is None:
            return None
        state, record = found
        classes = record.get("classes", self._classes)
        if classes != self._classes:
            raise UserError(
                f"{self._workdir} was trained for the classes {first_of(classes)}; the data has "
                f"{first_of(self._classes)} now, and what was learned is of the others. Bring the "
                "classes back, or choose another --workdir."
            )
        if record.get("data", self._data) != self._data:
            say(
                "The training images or labels are not those that the run began with (files, sizes "
                "or times differ); it goes on with what is there."
            )
        self.measures = record[self.measure]
        self.best_measure = record["best"]
        return state

    def save(self, state: State, measures: dict[str, float]) -> None:
        """Write the state; also as the best, if its longest length is."""
        reached = measures[self._setup.spec.names[0]]
        better = reached > self.best_measure
        self.measures = measures
        self.best_measure = max(self.best_measure, reached)
        record = {
            self.measure: measures,
            "best": self.best_measure,
            "classes": self._classes,
            "data": self._data,
        }
        if better:
            self._best.save(state, **record)
        self._last.save(state, **record)

    def close(self) -> None:
        """Wait until all is written."""
        self._last.close()
        self._best.close()


def _in_words(values: dict[str, Any]) -> str:
    return (
        f"{values['images_per_second']:,.0f} images/s, "
        f"{values['waiting_for_data']:.0%} of the time waiting for data"
    )


def _checked(measured: dict[str, np.ndarray], setup: Setup, step: int) -> dict[str, Any]:
    """Numbers for a line of metrics.

    Raises:
        UserError: for a loss or gradient that is no number.
    """
    loss = float(measured["loss"])
    norm = float(measured["gradient_norm"])
    if not (np.isfinite(loss) and np.isfinite(norm)):
        raise UserError(
            f"The loss is {loss} at step {step}, its gradient's norm {norm}. Lower "
            "optimizer.learning_rate or set optimizer.clip_norm, into another --workdir; the last "
            "checkpoint is kept."
        )

    def by_length(values):
        names = setup.spec.names
        return {name: round(float(value), 6) for name, value in zip(names, values, strict=True)}

    return {
        "loss": loss,
        "losses": by_length(measured["losses"]),
        "train_accuracy": by_length(measured["train_accuracy"]),
        "gradient_norm": norm,
    }
