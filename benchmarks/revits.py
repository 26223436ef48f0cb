"""The models that benchmarks of training are about, and a train step of one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from vintk_jax.models.vit import ViT
from vintk_jax.pieces import bytes_a_sample, pieces_here
from vintk_jax.tasks.objectives import Classification
from vintk_jax.training.optimizer import make_optimizer, make_schedule
from vintk_jax.training.step import Recipe, make_train_step
from vintk_jax.workdir.state import State


def revit(case: Any, lengths: tuple[int, ...], dtype: DTypeLike | None = None) -> ViT:
    """The ViT of a case's sizes (`embed_dim`, `depth`, `num_heads`, `image_size`) at one token
    length or several, ten classes.
    """
    grids = tuple((side, side) for side in lengths)
    return ViT(
        embed_dim=case.embed_dim,
        num_heads=(case.num_heads,) * case.depth,
        hidden=(case.embed_dim * 4,) * case.depth,
        head_dim=case.embed_dim // case.num_heads,
        num_classes=10,
        patch_size=round(case.image_size / lengths[0]),
        native_grid=grids[0],
        norm_grids=grids if len(grids) > 1 else (),
        dtype=dtype,
    )


def train_step(
    case: Any,
    lengths: tuple[int, ...],
    images: np.ndarray,
    labels: np.ndarray,
    dtype: DTypeLike | None = None,
) -> Callable[[], Any]:
    """A compiled train step on a batch that stays on the device, in the pieces that a training
    would choose; it has run once.
    """
    grids = tuple((side, side) for side in lengths)
    model = revit(case, lengths, dtype)
    size = case.image_size
    params = jax.jit(lambda key, x: model.init(key, x, grids[0]))(
        jax.random.key(0), jnp.zeros((1, size, size, 3))
    )
    optimizer = make_optimizer(
        params,
        make_schedule(1e-3, 0, 10**6),
        name="adamw",
        weight_decay=0.05,
        beta2=0.999,
        clip_norm=1.0,
        layer_decay=1,
    )
    each = partial(bytes_a_sample, model, grids, (size, size, 3))
    pieces = pieces_here(len(images), each)
    recipe = Recipe(Classification(10, distill=0.5), accumulate=pieces)
    step = jax.jit(make_train_step(model, grids, optimizer, recipe, 0), donate_argnums=0)
    held = [State(jnp.int32(0), params, optimizer.init(params), None)]
    batch = {"image": jax.device_put(images), "label": jax.device_put(labels)}

    def run() -> float:
        held[0], metrics = step(held[0], batch)
        return float(metrics["loss"])

    run()
    return run
