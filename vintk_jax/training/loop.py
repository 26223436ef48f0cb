"""The training loop: data, steps, evaluation, checkpoints; goes on where a killed run was."""

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh

from vintk_jax.data import loader
from vintk_jax.data.augment import Augment, Centre
from vintk_jax.data.sources import Source, open_source
from vintk_jax.errors import UserError
from vintk_jax.report.progress import COMPILING, Progress
from vintk_jax.training import sharding
from vintk_jax.training.checkpoints import BEST, LAST, Checkpoints
from vintk_jax.training.metrics import Metrics
from vintk_jax.training.models import Trained, build
from vintk_jax.training.optimizer import make_optimizer, make_schedule
from vintk_jax.training.step import Recipe, State, make_predict, make_train_step


@dataclasses.dataclass(frozen=True)
class Setup:
    """All that a config comes to, ahead of the first step.

    Attributes:
        steps: of the whole run; steps_per_epoch: of one pass over the images.
    """

    config: ml_collections.ConfigDict
    mesh: Mesh
    train: Source
    test: Source
    trained: Trained
    recipe: Recipe
    schedule: Callable
    optimizer: Any
    augment: Augment
    steps: int
    steps_per_epoch: int

    @functools.cached_property
    def like(self) -> State:
        """The state's shapes and shardings."""
        bare = jax.eval_shape(self._draw, jax.random.key(0))
        where = sharding.shardings(self.mesh, bare)
        return jax.tree.map(lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), bare, where)

    def initial(self) -> State:
        """The state before the first step."""
        out = jax.tree.map(lambda leaf: leaf.sharding, self.like)
        return jax.jit(self._draw, out_shardings=out)(jax.random.key(self.config.seed))

    def _draw(self, key: jax.Array) -> State:
        params = self.trained.draw(key)
        return State(jnp.int32(0), params, self.optimizer.init(params), jax.tree.map(jnp.copy, params) if self.recipe.ema else None)


def set_up(config: ml_collections.ConfigDict) -> Setup:
    """Open the data, build the model, lay out the state.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)
    sharding.check_batch(mesh, config.data.batch_size, config.optimizer.accumulate)
    train, test = (open_source(config.data.source, split) for split in (config.data.train_split, config.data.test_split))
    if train.classes != test.classes:
        raise UserError(
            f"{config.data.source} has {len(train.classes)} classes in {config.data.train_split}, {len(test.classes)} in {config.data.test_split}; "
            "the same were wanted."
        )
    per_epoch = max(len(train) // config.data.batch_size, 1)
    steps = config.optimizer.steps or round(config.optimizer.epochs * per_epoch)
    if steps < 1:
        raise UserError(f"optimizer.epochs={config.optimizer.epochs} came; a positive number was wanted (or optimizer.steps).")
    host_side = {f.name for f in dataclasses.fields(Augment)} - {"size"}
    augment = Augment(config.data.image_size, **{name: value for name, value in config.augment.items() if name in host_side})
    trained = build(config.model, len(train.classes), config.data.image_size)
    loss = config.loss
    if not (0 <= loss.distill <= 1 and 0 <= loss.label_smoothing < 1 and 0 <= loss.drop_path < 1 and 0 <= config.optimizer.ema < 1):
        raise UserError("loss.distill, label_smoothing, drop_path and optimizer.ema want numbers from 0 to 1.")
    if loss.drop_path and not hasattr(trained.model, "num_heads"):
        raise UserError(f"loss.drop_path={loss.drop_path} came; a {type(trained.model).__name__} has no stochastic depth. Set it to 0.")
    recipe = Recipe(
        num_classes=len(train.classes),
        label_smoothing=loss.label_smoothing,
        mixup=config.augment.mixup,
        cutmix=config.augment.cutmix,
        drop_path=loss.drop_path,
        distill=loss.distill,
        accumulate=config.optimizer.accumulate,
        ema=config.optimizer.ema,
    )
    schedule = make_schedule(config.optimizer.learning_rate, round(config.optimizer.warmup * steps), steps)
    shapes = jax.eval_shape(trained.draw, jax.random.key(0))
    optimizer = make_optimizer(
        shapes,
        schedule,
        name=config.optimizer.name,
        weight_decay=config.optimizer.weight_decay,
        beta2=config.optimizer.beta2,
        clip_norm=config.optimizer.clip_norm,
        layer_decay=config.optimizer.layer_decay,
    )
    return Setup(config, mesh, train, test, trained, recipe, schedule, optimizer, augment, steps, per_epoch)


class Evaluator:
    """Accuracy of parameters on a source at every length, by one program."""

    def __init__(self, setup: Setup, source: Source):
        self._setup, self._source = setup, source
        params = jax.tree.map(lambda leaf: leaf.sharding, setup.like.params)
        of_batch = jax.sharding.NamedSharding(setup.mesh, sharding.BATCH)

        predicts = [make_predict(setup.trained.model, grid) for grid in setup.trained.grids]

        def count(params, image, label, weight):
            return jnp.stack([jnp.sum(weight * (jnp.argmax(predict(params, image), axis=-1) == label)) for predict in predicts])

        # One program for all lengths: two at a time, each with sums over processes, may wait for each other's for ever.
        self._count = jax.jit(count, in_shardings=(params, of_batch, of_batch, of_batch))

    def __call__(self, params: Any) -> dict[str, float]:
        """Share of images that are right, by the name of the length."""
        config, right = self._setup.config, np.zeros(len(self._setup.trained.grids))
        batches = loader.eval_batches(
            self._source,
            Centre(config.data.image_size, config.data.crop_ratio),
            batch_size=config.data.batch_size,
            host=jax.process_index(),
            hosts=jax.process_count(),
        )
        for batch in batches:
            placed = sharding.put_batch(self._setup.mesh, batch)
            right += np.asarray(self._count(params, placed["image"], placed["label"], placed["weight"]), np.float64)
        return {name: float(total) / len(self._source) for name, total in zip(self._setup.trained.names, right, strict=True)}


def fit(setup: Setup, workdir: Path, progress: Progress, say: Callable[[str], None]) -> dict[str, float]:
    """Train to the end, from the last checkpoint if there is one; the accuracy of every length at the end.

    Raises:
        UserError: when the loss is no number, or a checkpoint can't be used; what is saved is kept.
    """
    config, folder, model = setup.config, workdir / "checkpoints", setup.trained.describe()
    last, best = Checkpoints(folder / LAST, 2, model), Checkpoints(folder / BEST, 1, model)
    progress.phase("restoring")
    found = last.restore(setup.like, say)
    state, record = found or (setup.initial(), {"accuracy": {}, "best": -1.0})
    classes = list(setup.train.classes)
    accuracy, most, begun = record["accuracy"], record["best"], int(state.step)
    progress.update(begun)
    hosts = {"host": jax.process_index(), "hosts": jax.process_count()}
    batches = loader.train_batches(setup.train, setup.augment, batch_size=config.data.batch_size, seed=config.seed, **hosts)
    ahead = loader.from_step(batches, begun, config.data.threads)
    where = jax.tree.map(lambda leaf: leaf.sharding, setup.like)
    step_of = make_train_step(setup.trained.model, setup.trained.grids, setup.optimizer, setup.recipe, config.seed)
    step = jax.jit(step_of, donate_argnums=0, out_shardings=(where, None))
    evaluate = Evaluator(setup, setup.test)
    eval_every = max(round(config.checkpoints.every_epochs * setup.steps_per_epoch), 1)
    writing = jax.process_index() == 0
    with Metrics(workdir, begun, writing=writing) as metrics:
        progress.phase(COMPILING)
        waited, started, since = 0.0, time.perf_counter(), begun
        for done in range(begun + 1, setup.steps + 1):
            asked = time.perf_counter()
            batch = sharding.put_batch(setup.mesh, next(ahead))
            waited += time.perf_counter() - asked
            state, measured = step(state, batch)
            if done % config.log_every == 0 or done in (begun + 1, setup.steps):
                values = _checked(jax.device_get(measured), setup, done)
                elapsed = time.perf_counter() - started
                values |= {"learning_rate": float(setup.schedule(done - 1))}
                values |= {"images_per_second": round((done - since) * config.data.batch_size / elapsed, 1)}
                values |= {"waiting_for_data": round(waited / elapsed, 4)}
                metrics.write(done, **values)
                said = f"{values['images_per_second']:,.0f} images/s, {values['waiting_for_data']:.0%} of the time waiting for data"
                progress.update(done, note=said)
                progress.phase("training")
                waited, started, since = 0.0, time.perf_counter(), done
            if done % eval_every == 0 or done == setup.steps:
                progress.phase("evaluating")
                accuracy = evaluate(state.best_params)
                metrics.write(done, accuracy=accuracy)
                better = accuracy[setup.trained.names[0]] > most
                most = max(most, accuracy[setup.trained.names[0]])
                if better:
                    best.save(state, accuracy=accuracy, best=most, classes=classes)
                last.save(state, accuracy=accuracy, best=most, classes=classes)
                progress.update(done, best=most)
                waited, started, since = 0.0, time.perf_counter(), done
        progress.phase("writing the checkpoint")
        last.close()
        best.close()
    return accuracy


def _checked(measured: dict[str, np.ndarray], setup: Setup, step: int) -> dict[str, Any]:
    """Numbers for a line of metrics.

    Raises:
        UserError: for a loss or gradient that is no number.
    """
    if not (np.isfinite(measured["loss"]) and np.isfinite(measured["gradient_norm"])):
        raise UserError(
            f"The loss is {float(measured['loss'])} at step {step}, its gradient's norm {float(measured['gradient_norm'])}. Lower "
            "optimizer.learning_rate or set optimizer.clip_norm, into another --workdir; the last checkpoint is kept."
        )
    names = setup.trained.names
    by_length = lambda values: {name: round(float(value), 6) for name, value in zip(names, values, strict=True)}
    return {
        "loss": float(measured["loss"]),
        "losses": by_length(measured["losses"]),
        "train_accuracy": by_length(measured["train_accuracy"]),
        "gradient_norm": float(measured["gradient_norm"]),
    }
