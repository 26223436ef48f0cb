"""How well and how fast targets are learnt: by kernel regression, and by a network that is really
trained.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

Kernel = Float[np.ndarray, "n n"]
Targets = Float[np.ndarray, "n targets"]


def _centred(kernel: Kernel) -> Kernel:
    """Without the constant, which every target here lacks."""
    k = np.asarray(kernel, np.float64)
    k = k - k.mean(axis=0)
    return k - k.mean(axis=1, keepdims=True)


def _eigen(kernel: Kernel) -> tuple[Float[np.ndarray, " n"], Kernel]:
    values, vectors = np.linalg.eigh(_centred(kernel))
    return np.clip(values[::-1], 0, None), vectors[:, ::-1]


def share_in_top(kernel: Kernel, targets: Targets, top: int) -> float:
    """How much of the targets' power lies in the kernel's `top` leading eigenvectors; 1 is all of
    it, top / n what chance gives.
    """
    _, vectors = _eigen(kernel)
    return float(np.sum((vectors[:, :top].T @ targets) ** 2) / np.sum(targets**2))


def residuals(
    kernel: Kernel, targets: Targets, times: Float[np.ndarray, " times"]
) -> Float[np.ndarray, " times"]:
    """What kernel regression by gradient flow has still to learn of the targets' power at each
    time.

    The residual obeys dr/dt = -K r / mean eigenvalue: time is counted in units in which every
    kernel's mean eigenvalue is 1, so that kernels differ by their shape and not by their scale.
    """
    values, vectors = _eigen(kernel)
    power = np.sum((vectors.T @ targets) ** 2, axis=1) / np.sum(targets**2)
    decay = np.exp(-2 * np.outer(times, values / values.mean()))
    return decay @ power


def time_to_halve(kernel: Kernel, targets: Targets) -> float:
    """When half of the targets' power is learnt, in the units of `residuals`; found to three
    digits, infinite if beyond 1e9.
    """
    times = np.logspace(-6, 9, 15 * 1000 + 1)
    below = residuals(kernel, targets, times) <= 0.5
    return float(times[np.argmax(below)]) if below.any() else float("inf")


def train(
    model: nn.Module,
    params: dict,
    images: Float[np.ndarray, " n *image"],
    targets: Float[np.ndarray, "n outputs"],
    *,
    steps: int,
    learning_rate: float,
) -> Float[np.ndarray, "steps outputs"]:
    """Train all of a network's parameters on all images at once (Adam, mean squared error); the
    residual power of each output by step.

    Returns:
        Mean squared errors before each step; 1 where an output knows nothing, since targets have
        unit variance.
    """
    optimizer = optax.adam(learning_rate)
    inputs = jnp.asarray(images)
    wanted = jnp.asarray(targets, jnp.float32)

    def loss(params):
        errors = jnp.mean((model.apply(params, inputs) - wanted) ** 2, axis=0)
        return jnp.mean(errors), errors

    @jax.jit
    def run(params):
        def step(carry, _):
            params, state = carry
            (_, errors), gradients = jax.value_and_grad(loss, has_aux=True)(params)
            updates, state = optimizer.update(gradients, state)
            return (optax.apply_updates(params, updates), state), errors

        return jax.lax.scan(step, (params, optimizer.init(params)), None, length=steps)[1]

    return np.asarray(run(params))
