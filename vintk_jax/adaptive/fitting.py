"""Training an assigner on token-length labels: seconds, one program, the same result from the same
seed.
"""

import dataclasses
from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Shaped

from vintk_jax.adaptive.assigner_networks import TARGETS
from vintk_jax.adaptive.length_labels import smallest_right
from vintk_jax.errors import UserError
from vintk_jax.training.optimizer import make_schedule


@dataclasses.dataclass(frozen=True)
class Fit:
    """How an assigner is trained; see `vintk_jax.defaults.adaptive` for the fields."""

    none_right: str
    target: str
    epochs: int | float
    batch_size: int
    learning_rate: int | float
    weight_decay: int | float
    cost_weight: int | float


# those of a config's `tla` section
FIELDS = tuple(field.name for field in dataclasses.fields(Fit))[1:]


def steps_of(epochs: int | float, batch_size: int, images: int) -> int:
    """How many steps an assigner is trained for.

    Raises:
        UserError: for fewer images than a batch, or no step.
    """
    steps = round(epochs * images / batch_size)
    if steps < 1 or images < batch_size:
        raise UserError(
            f"Expected one batch of {batch_size} images (tla.batch_size) at least, got "
            f"tla.epochs={epochs} of {images} images."
        )
    return steps


def fit_assigner(
    assigner: nn.Module,
    inputs: Shaped[np.ndarray, " n *features"],
    right: Bool[np.ndarray, "n lengths"],
    costs: tuple[float, ...],
    how: Fit,
    seed: int,
) -> tuple[dict, Float[np.ndarray, " steps"]]:
    """Parameters, and the loss of every step.

    With the target "smallest", cross-entropy on the smallest length at which the model is right;
    with "each", cross-entropy on right or wrong at each. To either, `cost_weight` times the
    expected cost of the lengths under a softmax of the outputs is added, which makes an assigner
    that is unsure lean to the cheaper length (our choice; the paper has the labels' cross-entropy
    alone).

    Args:
        inputs: what the assigner reads: features or thumbnails.
        right: whether the model is right about each image at each length, cheapest first.
        costs: of each length, the longest's being 1.

    Raises:
        UserError: for too few images, a schedule without steps, an unknown target, or a loss that
            is no number at the end.
    """
    steps = steps_of(how.epochs, how.batch_size, len(inputs))
    if how.target not in TARGETS:
        raise UserError(f"Expected tla.target to be {' or '.join(TARGETS)}, got {how.target!r}.")
    labels, weights = smallest_right(right, how.none_right)
    data = (
        jnp.asarray(inputs),
        jnp.asarray(labels),
        jnp.asarray(weights, jnp.float32),
        jnp.asarray(right, jnp.float32),
    )
    params, losses = _trained(assigner, how, costs, steps, jax.random.key(seed), *data)
    if not np.isfinite(losses[-1]):
        raise UserError(f"The assigner's loss is {losses[-1]} at the end. Lower tla.learning_rate.")
    return params, np.asarray(losses)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _trained(
    assigner: nn.Module, how: Fit, costs: tuple[float, ...], steps: int, key: Array, *data: Array
) -> tuple[dict, Float[Array, " steps"]]:
    """Parameters, and the loss of every step. One program for all stages and parts of one size.

    Args:
        data: inputs, labels, weights, and whether each length is right, as 0 or 1.
    """
    count = len(data[0])
    schedule = make_schedule(how.learning_rate, round(0.1 * steps), steps)
    optimizer = optax.adamw(schedule, weight_decay=how.weight_decay)
    loss_of = _loss(assigner, how, costs)
    of_params, of_order = jax.random.split(key)
    passes = -(-steps * how.batch_size // count)

    def order(key):
        return jax.random.permutation(key, count)

    # Drawn ahead: a draw without repeats in each step takes longer than the step.
    orders = jax.lax.map(order, jax.random.split(of_order, passes))
    batches = orders.reshape(-1)[: steps * how.batch_size].reshape(steps, how.batch_size)

    def step(state, chosen):
        params, opt_state = state
        loss, gradient = jax.value_and_grad(loss_of)(params, *(array[chosen] for array in data))
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    params = assigner.init(of_params, data[0][:1])
    (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), batches)
    return params, losses


def _loss(assigner: nn.Module, how: Fit, costs: tuple[float, ...]) -> Callable[..., Array]:
    """A function (params, inputs, labels, weights, right) -> the loss of a batch."""
    share = jnp.asarray(costs, jnp.float32)

    def loss_of(params, inputs, labels, weights, right):
        logits = assigner.apply(params, inputs)
        if how.target == "each":
            entropy = optax.sigmoid_binary_cross_entropy(logits, right).mean(axis=-1)
        else:
            entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        mean_entropy = jnp.sum(entropy * weights) / jnp.maximum(jnp.sum(weights), 1)
        expected_cost = jnp.mean(nn.softmax(logits) @ share)
        return mean_entropy + how.cost_weight * expected_cost

    return loss_of
