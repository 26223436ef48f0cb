"""The models that benchmarks of training are about, and a train step of one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike

from vintk_jax.models.passes import bytes_a_sample
from vintk_jax.models.vit import ViT
from vintk_jax.pieces import cache_bytes, devices_for, pieces_here
from vintk_jax.tasks.objectives import Classification
from vintk_jax.training import sharding
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


def chosen_pieces(case: Any, lengths: tuple[int, ...], batch: int) -> int:
    """Into how many pieces a training cuts a batch."""
    devices = chosen_mesh(case, lengths, batch).size
    return pieces_here(batch // devices, partial(_bytes_each, case, lengths), devices)


def chosen_mesh(case: Any, lengths: tuple[int, ...], batch: int) -> Mesh:
    """The devices that share a batch in a training."""
    cpu_devices = 0
    if sharding.cpu_alone():
        each = _bytes_each(case, lengths)
        cpu_devices = devices_for(batch, each, cache_bytes(), jax.device_count())
    return sharding.make_mesh(-1, 1, 1, cpu_devices)


def _bytes_each(case: Any, lengths: tuple[int, ...]) -> int:
    grids = tuple((side, side) for side in lengths)
    return bytes_a_sample(revit(case, lengths), grids, (case.image_size, case.image_size, 3))


def train_step(
    case: Any,
    lengths: tuple[int, ...],
    images: np.ndarray,
    labels: np.ndarray,
    dtype: DTypeLike | None = None,
    pieces: int = 0,
) -> Callable[[], Any]:
    """A compiled train step on a batch that stays on the devices, shared by these as a training
    does it; it has run once.

    Args:
        pieces: that the batch is gone through in; 0: as a training would choose.
    """
    grids = tuple((side, side) for side in lengths)
    model = revit(case, lengths, dtype)
    size = case.image_size
    mesh = chosen_mesh(case, lengths, len(images))
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
    pieces = pieces or chosen_pieces(case, lengths, len(images))
    recipe = Recipe(Classification(10, distill=0.5), accumulate=pieces)
    shared = mesh if sharding.shares(mesh) else None
    step = jax.jit(make_train_step(model, grids, optimizer, recipe, 0, shared), donate_argnums=0)
    everywhere = NamedSharding(mesh, PartitionSpec())
    state = State(jnp.int32(0), params, optimizer.init(params), None)
    held = [jax.device_put(state, everywhere)]
    batch = sharding.put_batch(mesh, {"image": images, "label": labels})

    def run() -> float:
        held[0], metrics = step(held[0], batch)
        return float(metrics["loss"])

    run()
    return run
