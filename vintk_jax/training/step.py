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
from jaxtyping import Array, Float

from vintk_jax.models.revit import Length
from vintk_jax.tasks.objectives import Objective
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
) -> Callable[..., tuple[State, dict[str, Array]]]:
    """A function (state, batch, the objective's frozen variables) -> (state, metrics); what it
    draws depends on the seed and the state's step alone.

    Args:
        grids: the token lengths, longest first; (None,) for a model that has only its own.
    """
    depth = model.num_blocks if recipe.drop_path else 0
    objective = recipe.objective

    def loss_of(params, images, targets, keep):
        options = {**objective.asked, **({} if keep is None else {"drop_path_mask": keep})}
        answers = [
            model.apply(params, images, *(() if grid is None else (grid,)), **options)
            for grid in grids
        ]
        answers = jax.tree.map(lambda answer: answer.astype(jnp.float32), answers)
        losses = objective.losses(answers, targets)
        right = jnp.stack([objective.right(one, targets) for one in answers])
        return jnp.mean(losses), (losses, right)

    def piece(params, images, targets, keep, frozen):
        targets = objective.taught(images, targets, frozen)
        keep = None if keep is None else jnp.moveaxis(keep, 0, -1)
        (_, metrics), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            params, images, targets, keep
        )
        return gradients, metrics, objective.size(targets)

    def step(state, batch, frozen=None):
        # What is random is drawn for the whole batch, so that pieces change nothing but rounding.
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        of_mix, of_depth = jax.random.split(key)
        images, targets = objective.prepare(batch, of_mix)
        keep = stochastic_depth(of_depth, depth, len(images), recipe.drop_path)
        keep = None if keep is None else jnp.moveaxis(keep, -1, 0)
        drawn = (images, targets, keep)
        if recipe.accumulate == 1:
            gradients, (losses, right), _ = piece(state.params, *drawn, frozen)
        else:
            # Every piece takes images from all devices, so that none has to send its own to
            # another.
            pieces = jax.tree.map(
                lambda x: x.reshape(-1, recipe.accumulate, *x.shape[1:]).swapaxes(0, 1), drawn
            )
            gradients, (losses, right) = _mean(partial(piece, frozen=frozen), state.params, pieces)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = (
            None
            if state.ema is None
            else optax.incremental_update(params, state.ema, 1 - _ema_decay(recipe.ema, state.step))
        )
        metrics = {
            "loss": jnp.mean(losses),
            "losses": losses,
            "train_accuracy": right,
            "gradient_norm": optax.tree.norm(gradients),
        }
        return State(state.step + 1, params, opt_state, ema), metrics

    return step


def _mean(piece: Callable, params: Any, pieces: Any) -> Any:
    """The mean of `piece` over all pieces, one at a time, each weighted by how many targets it has:
    what the whole batch gives.
    """
    first = jax.tree.map(lambda x: x[0], pieces)
    shapes = jax.eval_shape(lambda drawn: piece(params, *drawn)[:2], first)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add(total, drawn):
        *found, size = piece(params, *drawn)
        sums, sizes = total
        sums = jax.tree.map(lambda sum_, value: sum_ + value * size, sums, tuple(found))
        return (sums, sizes + size), None

    (sums, sizes), _ = jax.lax.scan(add, (zeros, jnp.float32(0)), pieces)
    return jax.tree.map(lambda sum_: sum_ / jnp.maximum(sizes, 1), sums)


def _ema_decay(decay: float, step: Array) -> Array:
    """Shorter at the start, when the first parameters should be forgotten soon."""
    return jnp.minimum(decay, (1 + step) / (10 + step))
