"""The training loop: data, steps, evaluation, checkpoints; goes on where a killed run was."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh

from vintk_jax.data import loader, walk
from vintk_jax.data.sources import Source
from vintk_jax.errors import UserError, first_of
from vintk_jax.report.progress import COMPILING, Progress
from vintk_jax.training import pieces, sharding
from vintk_jax.training.checkpoints import BEST, LAST, Checkpoints
from vintk_jax.training.metrics import Metrics
from vintk_jax.training.models import Trained
from vintk_jax.training.optimizer import make_optimizer, make_schedule
from vintk_jax.training.step import Recipe, State, make_train_step
from vintk_jax.training.tasks import Task, task_of
from vintk_jax.weights import load_weights


@dataclasses.dataclass(frozen=True)
class Setup:
    """All that a config comes to, ahead of the first step.

    Attributes:
        steps: of the whole run; steps_per_epoch: of one pass over the images.
    """

    config: ml_collections.ConfigDict
    mesh: Mesh
    task: Task
    recipe: Recipe
    schedule: Callable
    optimizer: Any
    steps: int
    steps_per_epoch: int

    @property
    def trained(self) -> Trained:
        """The model."""
        return self.task.trained

    @functools.cached_property
    def like(self) -> State:
        """The state's shapes and shardings."""
        bare = jax.eval_shape(self._draw, jax.random.key(0))
        where = sharding.shardings(self.mesh, bare)
        return jax.tree.map(
            lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
            bare,
            where,
        )

    def initial(self, say: Callable[[str], None]) -> State:
        """The state before the first step: of weights that are drawn, or of other people's.

        Raises:
            UserError: for weights that don't fit the model.
        """
        out, key, model = (
            jax.tree.map(lambda leaf: leaf.sharding, self.like),
            jax.random.key(self.config.seed),
            self.config.model,
        )
        if not model.get("weights", ""):
            return jax.jit(self._draw, out_shardings=out)(key)
        params = load_weights(
            model.weights,
            self.trained.model,
            head=model.weights_head,
            pixels=model.weights_pixels,
            averaged=model.get("weights_averaged", True),
            key=key,
            say=say,
        )
        return jax.jit(self._begin, out_shardings=out)(jax.device_get(params))

    def _draw(self, key: jax.Array) -> State:
        return self._begin(self.trained.draw(key))

    def _begin(self, params: Any) -> State:
        return State(
            jnp.int32(0),
            params,
            self.optimizer.init(params),
            jax.tree.map(jnp.copy, params) if self.recipe.ema else None,
        )


def set_up(config: ml_collections.ConfigDict) -> Setup:
    """Open the data, build the model, lay out the state.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
    sharding.check_batch(mesh, config.data.batch_size, max(config.optimizer.accumulate, 1))
    task = task_of(config)
    accumulate = config.optimizer.accumulate or _pieces(config, mesh, task)
    per_epoch = max(len(task.train) // config.data.batch_size, 1)
    steps = config.optimizer.steps or round(config.optimizer.epochs * per_epoch)
    if steps < 1 and not (config.model.get("weights", "") and config.optimizer.epochs == 0):
        raise UserError(
            f"optimizer.epochs={config.optimizer.epochs} came; a positive number was wanted (or "
            "optimizer.steps; with model.weights also 0, to "
            "take them as they are)."
        )
    weights = config.model.get("weights", "")
    if weights and not walk.path_of(weights, f"model.weights={weights}").exists():
        raise UserError(f"model.weights={weights} came, but there is no such file.")
    loss = config.loss
    if not (
        0 <= loss.distill <= 1
        and 0 <= loss.label_smoothing < 1
        and 0 <= loss.drop_path < 1
        and 0 <= config.optimizer.ema < 1
    ):
        raise UserError(
            "loss.distill, label_smoothing, drop_path and optimizer.ema want numbers from 0 to 1."
        )
    if loss.drop_path and not hasattr(task.trained.model, "num_blocks"):
        raise UserError(
            f"loss.drop_path={loss.drop_path} came; a {type(task.trained.model).__name__} has no "
            "stochastic depth. Set it to 0."
        )
    recipe = Recipe(
        task.objective,
        drop_path=loss.drop_path,
        accumulate=accumulate,
        ema=config.optimizer.ema,
    )
    schedule = make_schedule(
        config.optimizer.learning_rate, round(config.optimizer.warmup * steps), max(steps, 1)
    )
    shapes = jax.eval_shape(task.trained.draw, jax.random.key(0))
    optimizer = make_optimizer(
        shapes,
        schedule,
        name=config.optimizer.name,
        weight_decay=config.optimizer.weight_decay,
        beta2=config.optimizer.beta2,
        clip_norm=config.optimizer.clip_norm,
        layer_decay=config.optimizer.layer_decay,
        layers=getattr(task.trained.model, "layers", None),
    )
    return Setup(config, mesh, task, recipe, schedule, optimizer, steps, per_epoch)


def _pieces(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh, task: Task) -> int:
    """Into how many pieces a batch is cut: in one process on a CPU, so that each fits the cache; on
    accelerators, and where several processes have to agree, one.
    """
    trained, batch = task.trained, config.data.batch_size
    if jax.default_backend() != "cpu" or jax.process_count() > 1:
        return 1
    shape = trained.shape[trained.views > 1 :]
    each = pieces.bytes_a_sample(trained.model, trained.grids, shape)
    # A mesh's devices share the cache, and each takes its part of every piece.
    shards = math.prod(mesh.shape[axis] for axis in sharding.BATCH[0])
    return pieces.pieces_for(batch // shards, each * shards, pieces.cache_bytes())


class Evaluator:
    """The objective's measure of parameters on a source at every length, by one program."""

    def __init__(self, setup: Setup, source: Source):
        self._setup, self._source = setup, source
        params = jax.tree.map(lambda leaf: leaf.sharding, setup.like.params)
        of_batch = jax.sharding.NamedSharding(setup.mesh, sharding.BATCH)
        task = setup.task
        predicts = [task.predict(task.trained.model, grid) for grid in task.trained.grids]

        def count(params, batch):
            return jnp.stack(
                [
                    task.objective.count(predict(params, batch["image"]), batch)
                    for predict in predicts
                ]
            )

        # One program for all lengths: two at a time, each with sums over processes, may wait for
        # each other's for ever.
        self._count = jax.jit(count, in_shardings=(params, of_batch))

    def __call__(self, params: Any) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """By the name of the length: the measure, and its details by class where the objective has
        any.
        """
        config, task, total = self._setup.config, self._setup.task, 0.0
        batches = loader.eval_batches(
            self._source,
            task.look,
            batch_size=config.data.batch_size,
            host=jax.process_index(),
            hosts=jax.process_count(),
        )
        for batch in batches:
            total = total + np.asarray(
                self._count(params, sharding.put_batch(self._setup.mesh, batch)), np.float64
            )
        found = {
            name: task.objective.measured(of, self._source.classes)
            for name, of in zip(task.trained.names, total, strict=True)
        }
        return {name: value for name, (value, _) in found.items()}, {
            name: by for name, (_, by) in found.items() if by
        }


def fit(
    setup: Setup, workdir: Path, progress: Progress, say: Callable[[str], None]
) -> tuple[dict[str, float], Any]:
    """Train to the end, from the last checkpoint if there is one; the measure of every length at
    the end, and the parameters.

    Raises:
        UserError: when the loss is no number, or a checkpoint can't be used; what is saved is kept.
    """
    config, folder, model, measure = (
        setup.config,
        workdir / "checkpoints",
        setup.trained.describe(),
        setup.task.objective.measure,
    )
    last, best = Checkpoints(folder / LAST, 2, model), Checkpoints(folder / BEST, 1, model)
    progress.phase("restoring")
    found = last.restore(setup.like, say)
    state, record = found or (setup.initial(say), {measure: {}, "best": -1.0})
    classes = list(setup.task.train.classes)
    data = setup.task.train.identity
    if record.get("classes", classes) != classes:
        raise UserError(
            f"{workdir} was trained for the classes {first_of(record['classes'])}; the data has "
            f"{first_of(classes)} now, and what was learned is of the others. Bring the classes "
            "back, or choose another --workdir."
        )
    if record.get("data", data) != data:
        say(
            "The training images or labels are not those that the run began with (files, sizes or "
            "times differ); it goes on with what is there."
        )
    reached, most, begun = record[measure], record["best"], int(state.step)
    progress.update(begun)
    hosts = {"host": jax.process_index(), "hosts": jax.process_count()}
    batches = loader.train_batches(
        setup.task.train,
        setup.task.augment,
        batch_size=config.data.batch_size,
        seed=config.seed,
        **hosts,
    )
    if setup.steps - begun >= setup.steps_per_epoch:  # every image will be asked for
        setup.task.train.ahead()
    ahead = loader.from_step(batches, begun, config.data.threads)
    where = jax.tree.map(lambda leaf: leaf.sharding, setup.like)
    step_of = make_train_step(
        setup.trained.model, setup.trained.grids, setup.optimizer, setup.recipe, config.seed
    )
    step = jax.jit(step_of, donate_argnums=0, out_shardings=(where, None))
    frozen = sharding.replicate(setup.mesh, setup.task.objective.frozen)
    evaluate = Evaluator(setup, setup.task.test)
    eval_every = max(round(config.checkpoints.every_epochs * setup.steps_per_epoch), 1)
    writing = jax.process_index() == 0
    with Metrics(workdir, begun, writing=writing) as metrics:

        def look(done: int) -> None:
            """Measure the state and write it down."""
            nonlocal reached, most
            progress.phase("evaluating")
            reached, by_class = evaluate(state.best_params)
            metrics.write(
                done,
                **{measure: reached},
                **{f"by_class_{name}": values for name, values in by_class.items()},
            )
            better = reached[setup.trained.names[0]] > most
            most = max(most, reached[setup.trained.names[0]])
            record = {measure: reached, "best": most, "classes": classes, "data": data}
            if better:
                best.save(state, **record)
            last.save(state, **record)
            progress.update(done, best=most)

        progress.phase(COMPILING)
        waited, started, since = 0.0, time.perf_counter(), begun
        for done in range(begun + 1, setup.steps + 1):
            asked = time.perf_counter()
            batch = sharding.put_batch(setup.mesh, next(ahead))
            waited += time.perf_counter() - asked
            state, measured = step(state, batch, frozen)
            if done % config.log_every == 0 or done in (begun + 1, setup.steps):
                values = _checked(jax.device_get(measured), setup, done)
                elapsed = time.perf_counter() - started
                values |= {"learning_rate": float(setup.schedule(done - 1))}
                values |= {
                    "images_per_second": round((done - since) * config.data.batch_size / elapsed, 1)
                }
                values |= {"waiting_for_data": round(waited / elapsed, 4)}
                metrics.write(done, **values)
                said = (
                    f"{values['images_per_second']:,.0f} images/s, "
                    f"{values['waiting_for_data']:.0%} of the time waiting for data"
                )
                progress.update(done, note=said)
                progress.phase("training")
                waited, started, since = 0.0, time.perf_counter(), done
            if done % eval_every == 0 or done == setup.steps:
                look(done)
                waited, started, since = 0.0, time.perf_counter(), done
        if not setup.steps and found is None:
            look(0)
        progress.phase("writing the checkpoint")
        last.close()
        best.close()
    return reached, state.best_params


def _checked(measured: dict[str, np.ndarray], setup: Setup, step: int) -> dict[str, Any]:
    """Numbers for a line of metrics.

    Raises:
        UserError: for a loss or gradient that is no number.
    """
    if not (np.isfinite(measured["loss"]) and np.isfinite(measured["gradient_norm"])):
        raise UserError(
            f"The loss is {float(measured['loss'])} at step {step}, its gradient's norm "
            f"{float(measured['gradient_norm'])}. Lower "
            "optimizer.learning_rate or set optimizer.clip_norm, into another --workdir; the last "
            "checkpoint is kept."
        )
    names = setup.trained.names

    def by_length(values):
        return {name: round(float(value), 6) for name, value in zip(names, values, strict=True)}

    return {
        "loss": float(measured["loss"]),
        "losses": by_length(measured["losses"]),
        "train_accuracy": by_length(measured["train_accuracy"]),
        "gradient_norm": float(measured["gradient_norm"]),
    }
