"""What a training has left in its workdir: the model, its weights, the names of its classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import ml_collections

from vintk_jax.errors import UserError
from vintk_jax.training.checkpoints import Checkpoints
from vintk_jax.training.models import Trained, build, with_kept_arch
from vintk_jax.training.segmenters import build_segmenter
from vintk_jax.training.timesformers import build_timesformer


def load_trained(
    workdir: Path, config: ml_collections.ConfigDict, which: str, say: Callable[[str], None]
) -> tuple[Trained, Any, tuple[str, ...]]:
    """The model, its variables on the first device, and the classes.

    Args:
        config: the training's.
        which: "best" or "last".
        say: called with what there is to say about a corrupt checkpoint.

    Raises:
        UserError: when nothing was trained there, or no checkpoint can be read.
    """
    folder = workdir / "checkpoints" / which
    if not folder.is_dir():
        raise UserError(
            f"There are no checkpoints in {folder}. `python -m vintk_jax.train` writes them."
        )
    classes = Checkpoints.classes_in(folder)
    own = ml_collections.ConfigDict(config)
    own.model = with_kept_arch(config.model, workdir)
    if "segmentation" in config:
        trained = build_segmenter(own, len(classes))
    elif "clips" in config:
        trained = build_timesformer(own, len(classes))
    else:
        trained = build(own.model, len(classes), config.data.image_size)
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shapes = jax.eval_shape(trained.draw, jax.random.key(0))
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes
    )
    params, _ = Checkpoints(folder, 2, trained.describe(), read_only=True).restore_params(like, say)
    return trained, params, classes
