"""One experiment: signals of known frequency, seen by the NTK and by ViNTK's Fourier kernel of the
same networks, and learnt by training.
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vintk_jax import ntk
from vintk_jax.spectral import learning
from vintk_jax.spectral.frequencies import Signals


def _steps_to_halve(errors: Float[np.ndarray, " steps"]) -> float | None:
    below = np.flatnonzero(errors <= 0.5)
    return int(below[0]) if len(below) else None


def run(
    signals: Signals,
    views: Mapping[str, Float[np.ndarray, "n height width channels"]],
    make_model: Callable[[int], nn.Module],
    *,
    seeds: int,
    key: jax.Array,
    directions: int,
    top: int,
    steps: int,
    learning_rate: float,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Kernels and trained networks on every view of the signals' images.

    Args:
        make_model: outputs -> the network.
        seeds: draws of the weights; the numbers are means over them, with standard deviations.
        directions: random ones of the outputs, over which a kernel is averaged.
        top: leading eigenvectors that count as such.
        report: told what is finished.

    Returns:
        By view and frequency: `share_in_top`, `time_to_halve` (kernel regression, see
        `learning.residuals`), `steps_to_halve` (training; None where it never got there), each with
        `..._sd`; by view, the curve of residual power while training, (frequencies, steps).
    """
    columns = np.concatenate(list(signals.targets.values()), axis=1)
    model = make_model(columns.shape[1])

    init = jax.jit(model.init)
    result = {}
    for view, images in views.items():
        kernel_of = _kernel_function(model, images, directions)
        rows = []
        curves = []
        for seed in range(seeds):
            drawn = jax.random.fold_in(key, seed)
            params = init(drawn, jnp.asarray(images[:1]))
            kernel = kernel_of(params, jax.random.fold_in(drawn, 1))
            errors = learning.train(
                model, params, images, columns, steps=steps, learning_rate=learning_rate
            )
            curve = _by_frequency(errors, signals)
            curves.append(curve)
            rows.append(_numbers(np.asarray(kernel), signals, curve, top))
            report(f"{signals.name}, {view}, draw {seed + 1} of {seeds}")
        result[view] = {
            "frequencies": {
                name: _summary([of_seed[i] for of_seed in rows])
                for i, name in enumerate(signals.targets)
            },
            "curve": np.mean(curves, axis=0).tolist(),
        }
    return result


def _kernel_function(
    model: nn.Module, images: Float[np.ndarray, "n height width channels"], directions: int
) -> Callable:
    """A compiled function (params, key) -> the kernel on these images."""

    @jax.jit
    def kernel(params, key):
        return ntk.kernel(
            model,
            params,
            jnp.asarray(images),
            cotangent="random",
            key=key,
            num_directions=directions,
        )

    return kernel


def _by_frequency(
    errors: Float[np.ndarray, "steps targets"], signals: Signals
) -> Float[np.ndarray, "frequencies steps"]:
    """Errors of all targets as means over the targets of each frequency."""
    counts = [targets.shape[1] for targets in signals.targets.values()]
    frequency = np.repeat(range(len(counts)), counts)
    return np.stack([errors[:, frequency == i].mean(axis=1) for i in range(len(counts))])


def _numbers(
    kernel: Float[np.ndarray, "n n"],
    signals: Signals,
    curve: Float[np.ndarray, "frequencies steps"],
    top: int,
) -> list[tuple[float, float, float | None]]:
    """Share in the leading eigenvectors, time and steps to halve, of each frequency."""
    return [
        (
            learning.share_in_top(kernel, targets, top),
            learning.time_to_halve(kernel, targets),
            _steps_to_halve(errors),
        )
        for targets, errors in zip(signals.targets.values(), curve, strict=True)
    ]


def _summary(rows: list[tuple]) -> dict[str, float | None]:
    """Means and standard deviations over draws; None as soon as one draw has no number."""
    summary: dict[str, float | None] = {}
    for name, values in zip(
        ("share_in_top", "time_to_halve", "steps_to_halve"), zip(*rows, strict=True), strict=True
    ):
        known = None not in values and np.isfinite(np.asarray(values, float)).all()
        summary[name] = float(np.mean(values)) if known else None
        summary[f"{name}_sd"] = float(np.std(values)) if known else None
    return summary
