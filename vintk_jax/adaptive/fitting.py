"""Training an assigner on token-length labels: seconds, one program, the same result from the same seed."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int, Shaped

from vintk_jax.adaptive.assigners import expected_share
from vintk_jax.errors import UserError
from vintk_jax.training.optimizer import make_schedule


def fit_assigner(
    assigner: nn.Module,
    seen: Shaped[np.ndarray, "n *features"],
    labels: Int[np.ndarray, " n"],
    weights: Float[np.ndarray, " n"],
    costs: Float[np.ndarray, " lengths"],
    *,
    epochs: int | float,
    batch_size: int,
    learning_rate: int | float,
    weight_decay: int | float,
    cost_weight: int | float,
    seed: int,
) -> tuple[dict, Float[np.ndarray, " steps"]]:
    """Parameters, and the loss of every step: cross-entropy on the labels and `cost_weight` times the expected cost.

    The expected cost is of the lengths under the assigner's probabilities, as shares of the longest's: it makes an assigner that is unsure lean to the
    cheaper length (our choice; the paper has cross-entropy alone).

    Args:
        seen: what the assigner reads: features or thumbnails.
        labels, weights: as `labels.smallest_right` gives them.
        costs: of each length, the longest's being 1.

    Raises:
        UserError: for too few images, or a schedule without steps.
    """
    steps = round(epochs * len(seen) / batch_size)
    if steps < 1 or len(seen) < batch_size:
        raise UserError(f"tla.epochs={epochs} of {len(seen)} images came; one batch of {batch_size} at least was wanted.")
    schedule = make_schedule(learning_rate, round(0.1 * steps), steps)
    optimizer = optax.adamw(schedule, weight_decay=weight_decay)
    data = jnp.asarray(seen), jnp.asarray(labels), jnp.asarray(weights, jnp.float32)
    share = jnp.asarray(costs, jnp.float32)

    def loss_of(params, x, label, weight):
        logits = assigner.apply(params, x)
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, label)
        return jnp.sum(entropy * weight) / jnp.maximum(jnp.sum(weight), 1) + cost_weight * expected_share(logits, share)

    def step(state, key):
        params, opt_state = state
        chosen = jax.random.choice(key, len(seen), (batch_size,), replace=False)
        loss, gradient = jax.value_and_grad(loss_of)(params, *(array[chosen] for array in data))
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), loss

    @jax.jit
    def run(key):
        of_params, of_steps = jax.random.split(key)
        params = assigner.init(of_params, data[0][:1])
        (params, _), losses = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(of_steps, steps))
        return params, losses

    params, losses = run(jax.random.key(seed))
    return params, np.asarray(losses)
