"""The train step, as a pure function to be jitted.

A ReViT sees every token length in each step: the losses of all are averaged (`tasks.objectives`
says what they are).
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jaxtyping import Array, Float

from vintk_jax.models.folding import Length
from vintk_jax.models.passes import at_lengths
from vintk_jax.tasks.objectives import Objective
from vintk_jax.training.sharding import over_parts
from vintk_jax.workdir.state import State


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a step is made; the fields of the same names in the configs.

    Attributes:
        objective: what is learned: the loss, and what counts as right.
        drop_path: probability of leaving the last block's residuals out; it grows in a line from 0
            at the first.
        accumulate: pieces that a batch is gone through in.
        ema: decay of the running mean of the parameters; 0: none.
    """

    objective: Objective
    drop_path: float = 0.0
    accumulate: int = 1
    ema: float = 0.0


def stochastic_depth(
    key: jax.Array, depth: int, images: int, rate: int | float
) -> Float[Array, "depth 2 images"] | None:
    """What multiplies each residual: 0, or 1 over the probability of keeping it (Huang et al. 2016,
    arXiv 1603.09382).
    """
    if rate <= 0:
        return None
    keeping = (1 - rate * jnp.arange(depth) / max(depth - 1, 1))[:, None, None]
    return jax.random.bernoulli(key, keeping, (depth, 2, images)) / keeping


def make_train_step(
    model: nn.Module,
    grids: Sequence[Length | None],
    optimizer: optax.GradientTransformation,
    recipe: Recipe,
    seed: int,
    mesh: Mesh | None = None,
) -> Callable[..., tuple[State, dict[str, Array]]]:
    """A function (state, batch, the objective's frozen variables) -> (state, metrics); what it
    draws depends on the seed and the state's step alone.

    Args:
        grids: the token lengths, longest first; (None,) for a model that has only its own.
        mesh: whose devices share the batch (`sharding.shares`). None: one device has it, or XLA
            cuts it up.
    """
    depth = model.num_blocks if recipe.drop_path else 0
    objective = recipe.objective

    def loss_of(params, images, targets, drop_path_mask):
        options = dict(objective.asked)
        if drop_path_mask is not None:
            options["drop_path_mask"] = drop_path_mask
        answers = at_lengths(model, params, images, grids, **options)
        answers = jax.tree.map(lambda array: array.astype(jnp.float32), answers)
        losses = objective.losses(answers, targets)
        right = jnp.stack([objective.right(one, targets) for one in answers])
        return jnp.mean(losses), (losses, right)

    def of_piece(params, images, targets, drop_path_mask, frozen):
        """Gradients and metrics, and how many targets they are means over."""
        targets = objective.taught(images, targets, frozen)
        if drop_path_mask is not None:
            drop_path_mask = jnp.moveaxis(drop_path_mask, 0, -1)
        (_, metrics), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            params, images, targets, drop_path_mask
        )
        return (gradients, metrics), objective.size(targets)

    def of_part(params, drawn, frozen):
        """Of one device's part of the batch, a piece at a time."""
        if recipe.accumulate == 1:
            return of_piece(params, *drawn, frozen)

        # Every piece takes images from all devices, so that none has to send its own to another.
        def cut(array):
            return array.reshape(-1, recipe.accumulate, *array.shape[1:]).swapaxes(0, 1)

        return _mean(partial(of_piece, frozen=frozen), params, jax.tree.map(cut, drawn))

    def of_batch(params, drawn, frozen):
        """Gradients and metrics."""
        return of_part(params, drawn, frozen)[0]

    if mesh is not None:
        of_batch = _shared(of_part, mesh)

    def step(state, batch, frozen=None):
        # What is random is drawn for the whole batch, so that pieces change nothing but rounding.
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        of_mix, of_depth = jax.random.split(key)
        images, targets = objective.prepare(batch, of_mix)
        drop_path_mask = stochastic_depth(of_depth, depth, len(images), recipe.drop_path)
        # Images lead while the batch is cut into pieces.
        if drop_path_mask is not None:
            drop_path_mask = jnp.moveaxis(drop_path_mask, -1, 0)
        gradients, (losses, right) = of_batch(
            state.params, (images, targets, drop_path_mask), frozen
        )
        # Parameters, and their running mean.
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = None
        if state.ema is not None:
            decay = _ema_decay(recipe.ema, state.step)
            ema = optax.incremental_update(params, state.ema, 1 - decay)
        metrics = {
            "loss": jnp.mean(losses),
            "losses": losses,
            "train_accuracy": right,
            "gradient_norm": optax.tree.norm(gradients),
        }
        return State(state.step + 1, params, opt_state, ema), metrics

    return step


def _mean(of_piece: Callable, params: Any, pieces: Any) -> tuple[Any, Float[Array, ""]]:
    """The mean of `of_piece` over all pieces, one at a time, each weighted by how many targets it
    has: what the whole batch gives. And the number of all targets.
    """
    first = jax.tree.map(lambda array: array[0], pieces)
    shapes = jax.eval_shape(lambda drawn: of_piece(params, *drawn)[0], first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total, drawn):
        values, size = of_piece(params, *drawn)
        sums, sizes = total
        sums = jax.tree.map(lambda sum_, value: sum_ + value * size, sums, values)
        return (sums, sizes + size), None

    (sums, sizes), _ = jax.lax.scan(add, (zeros, jnp.float32(0)), pieces)
    return jax.tree.map(lambda sum_: sum_ / jnp.maximum(sizes, 1), sums), sizes


def _shared(of_part: Callable, mesh: Mesh) -> Callable:
    """The mean of `of_part` over the parts of a mesh's devices, each weighted by how many targets
    it has. The devices wait for each other once: all values travel as one array.
    """

    def weighted(known, drawn):
        params, frozen = known
        values, size = of_part(params, drawn, frozen)
        flat, restored = ravel_pytree(values)
        total = jax.lax.psum(size, mesh.axis_names)
        return restored(jax.lax.psum(flat * size, mesh.axis_names) / jnp.maximum(total, 1))

    run = over_parts(weighted, mesh)
    return lambda params, drawn, frozen: run((params, frozen), drawn)


def _ema_decay(decay: float, step: Array) -> Array:
    """Shorter at the start, when the first parameters should be forgotten soon."""
    return jnp.minimum(decay, (1 + step) / (10 + step))
