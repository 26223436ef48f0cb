"""AdamW or Muon with a warmed-up cosine, layer-wise decay of the learning rate, and gradient
clipping, put together from optax.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from vintk_jax.errors import UserError, nearest
from vintk_jax.models.layer_decay import Layers, scales

OPTIMIZERS = ("adamw", "muon")  # also in defaults.training
# of an update, as AdamW's is about, so that both take the same learning rates (Moonlight, arXiv
# 2502.16982, section 2.2)
_MUON_RMS = 0.2


def _path(path: tuple) -> tuple[str, ...]:
    return tuple(str(part.key) for part in path)


def is_decayed(path: tuple[str, ...]) -> bool:
    """Weight decay is for the kernels of linear layers and convolutions; not for biases, norms,
    tokens, positions (as DeiT).
    """
    return path[-1] == "kernel"


def make_schedule(
    learning_rate: int | float, warmup_steps: int, total_steps: int, end: int | float = 0.0
) -> optax.Schedule:
    """From zero up in a line, down by a cosine to `end` times the peak.

    Raises:
        UserError: for a warm-up as long as the run.
    """
    if not 0 <= warmup_steps < max(total_steps, 1):
        raise UserError(
            f"Expected a warm-up of fewer steps than the run's {total_steps}, got {warmup_steps}."
        )
    return optax.warmup_cosine_decay_schedule(
        0.0 if warmup_steps else learning_rate,
        learning_rate,
        warmup_steps,
        total_steps,
        end * learning_rate,
    )


def muon_dimensions(params: Any) -> Any:
    """Which axes of a parameter are a matrix's rows and columns, for those that Muon is for: the
    kernels of the blocks; None for the others.

    Embeddings and the head are left to AdamW (https://kellerjordan.github.io/posts/muon). A scanned
    stack is one matrix a block.
    """

    def dimensions(path, leaf):
        names = _path(path)
        inside = any(name == "blocks" or name.startswith("block_") for name in names)
        if inside and names[-1] == "kernel":
            return optax.contrib.MuonDimensionNumbers(leaf.ndim - 2, leaf.ndim - 1)
        return None

    return jax.tree_util.tree_map_with_path(dimensions, params)


def make_optimizer(
    params: Any,
    schedule: optax.Schedule,
    *,
    name: str,
    weight_decay: int | float,
    beta2: int | float,
    clip_norm: int | float,
    layer_decay: int | float,
    layers: Layers | None = None,
) -> optax.GradientTransformation:
    """AdamW (arXiv 1711.05101), or Muon for the blocks' kernels and AdamW for the rest (arXiv
    2502.16982).

    Args:
        params: names and shapes, for the rules on them.
        name: one of `OPTIMIZERS`.
        clip_norm: of the whole gradient; 0 doesn't clip.
        layer_decay: 1 gives every layer the same rate.
        layers: of the model (`models.layer_decay`); needed for a decay.

    Raises:
        UserError: for another name, and for a decay of a model that doesn't say its layers.
    """
    if name not in OPTIMIZERS:
        raise UserError(
            f"Expected optimizer.name to be {' or '.join(OPTIMIZERS)}, got {name!r}."
            f"{nearest(name, OPTIMIZERS)}"
        )
    decayed = jax.tree_util.tree_map_with_path(lambda path, _: is_decayed(_path(path)), params)
    steps = [optax.clip_by_global_norm(clip_norm)] if clip_norm > 0 else []
    if name == "muon":
        # A rate of -1: the direction itself, neither scaled nor turned round; decay and rate
        # follow, as for AdamW.
        steps.append(
            optax.contrib.muon(
                -1.0,
                adam_b2=beta2,
                consistent_rms=_MUON_RMS,
                muon_weight_dimension_numbers=muon_dimensions,
            )
        )
    else:
        steps.append(optax.scale_by_adam(b2=beta2))
    steps.append(optax.add_decayed_weights(weight_decay, decayed))
    if layer_decay != 1:
        if layers is None:
            raise UserError(
                f"optimizer.layer_decay={layer_decay} came, but the model doesn't say which layer "
                "each weight is in: it has no property `layers` (vintk_jax/models/layer_decay.py). "
                "Add one, or set optimizer.layer_decay=1."
            )
        factors = scales(params, layer_decay, layers)
        steps.append(
            optax.stateless(lambda updates, _: jax.tree.map(jnp.multiply, updates, factors))
        )
    return optax.chain(*steps, optax.scale_by_learning_rate(schedule))
