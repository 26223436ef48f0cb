"""From a config to all that a training needs ahead of its first step."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from vintk_jax import pieces
from vintk_jax.data import folders
from vintk_jax.errors import UserError
from vintk_jax.models.passes import bytes_a_sample
from vintk_jax.tasks import kind_of
from vintk_jax.tasks.base import Task
from vintk_jax.tasks.model_spec import ModelSpec
from vintk_jax.training import sharding
from vintk_jax.training.optimizer import make_optimizer, make_schedule
from vintk_jax.training.step import Recipe
from vintk_jax.workdir.state import State


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
    def spec(self) -> ModelSpec:
        """The model."""
        return self.task.spec

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

    def initial(self, read_weights: Callable[[], Any] | None = None) -> State:
        """The state before the first step.

        Args:
            read_weights: gives the model's variables (`weights.weights_reader`); None draws them.

        Raises:
            UserError: for weights that don't fit the model.
        """
        placed = jax.tree.map(lambda leaf: leaf.sharding, self.like)
        if read_weights is None:
            return jax.jit(self._draw, out_shardings=placed)(jax.random.key(self.config.seed))
        return jax.jit(self._begin, out_shardings=placed)(jax.device_get(read_weights()))

    def _draw(self, key: jax.Array) -> State:
        return self._begin(self.spec.draw(key))

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
    task = kind_of(config).open_task(config)
    mesh = _mesh(config, task)
    accumulate = config.optimizer.accumulate or _pieces(config, mesh, task)
    per_epoch = max(len(task.train) // config.data.batch_size, 1)
    steps = config.optimizer.steps or round(config.optimizer.epochs * per_epoch)
    _check(config, task, steps)
    recipe = Recipe(
        task.objective,
        drop_path=config.loss.drop_path,
        accumulate=accumulate,
        ema=config.optimizer.ema,
    )
    schedule = make_schedule(
        config.optimizer.learning_rate, round(config.optimizer.warmup * steps), max(steps, 1)
    )
    shapes = jax.eval_shape(task.spec.draw, jax.random.key(0))
    optimizer = make_optimizer(
        shapes,
        schedule,
        name=config.optimizer.name,
        weight_decay=config.optimizer.weight_decay,
        beta2=config.optimizer.beta2,
        clip_norm=config.optimizer.clip_norm,
        layer_decay=config.optimizer.layer_decay,
        layers=getattr(task.spec.model, "layers", None),
    )
    return Setup(config, mesh, task, recipe, schedule, optimizer, steps, per_epoch)


def _check(config: ml_collections.ConfigDict, task: Task, steps: int) -> None:
    """Refuse what can't be trained.

    Raises:
        UserError: for no steps, weights that aren't there, or losses that don't fit.
    """
    weights = config.model.get("weights", "")
    as_they_are = weights and config.optimizer.epochs == 0
    if steps < 1 and not as_they_are:
        raise UserError(
            "Expected a positive number of optimizer.epochs (or optimizer.steps), got "
            f"{config.optimizer.epochs}. 0 takes model.weights as they are, where there are any."
        )
    if weights and not folders.path_of(weights, f"model.weights={weights}").exists():
        raise UserError(f"model.weights={weights} came, but there is no such file.")
    loss = config.loss
    below_one = (loss.label_smoothing, loss.drop_path, config.optimizer.ema)
    if not 0 <= loss.distill <= 1 or not all(0 <= number < 1 for number in below_one):
        raise UserError(
            "loss.distill, label_smoothing, drop_path and optimizer.ema want numbers from 0 to 1."
        )
    if loss.drop_path and not hasattr(task.spec.model, "num_blocks"):
        raise UserError(
            f"A {type(task.spec.model).__name__} has no stochastic depth. Expected "
            f"loss.drop_path=0, got {loss.drop_path}. Set it to 0."
        )


def _mesh(config: ml_collections.ConfigDict, task: Task) -> Mesh:
    """The devices, which a batch can be spread over.

    Raises:
        UserError: for sizes that don't fit.
    """
    section = config.mesh
    batch = config.data.batch_size
    cpu_devices = section.get("cpu_devices", 0)
    if not cpu_devices and sharding.cpu_alone() and batch > 0:
        each = _bytes_each(task)
        cpu_devices = pieces.devices_for(batch, each, pieces.cache_bytes(), jax.device_count())
    mesh = sharding.make_mesh(section.data, section.fsdp, section.tensor, cpu_devices)
    sharding.check_batch(mesh, batch, max(config.optimizer.accumulate, 1))
    return mesh


def _bytes_each(task: Task) -> int:
    """What an image puts out in a pass at every length."""
    spec = task.spec
    return bytes_a_sample(spec.model, spec.grids, spec.shape[spec.views > 1 :])


def _pieces(config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh, task: Task) -> int:
    """Into how many pieces a batch is cut: in one process on a CPU, so that each fits the cache; on
    accelerators, and where several processes have to agree, one.
    """
    if jax.process_count() > 1:
        return 1
    shards = math.prod(mesh.shape[axis] for axis in sharding.BATCH[0])

    def each():
        return _bytes_each(task)

    return pieces.pieces_here(config.data.batch_size // shards, each, shards)
