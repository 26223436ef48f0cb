"""The trained model of a workdir: the model, its weights, the names of its classes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections

from vintk_jax.errors import UserError
from vintk_jax.tasks import kind_of
from vintk_jax.tasks.architecture import with_kept_arch
from vintk_jax.tasks.model_spec import ModelSpec
from vintk_jax.workdir.checkpoints import Checkpoints


class Trained(NamedTuple):
    """A trained model: how it is called, its variables on the first device, the names of its
    classes, and the step that the variables are of.
    """

    spec: ModelSpec
    params: Any
    classes: tuple[str, ...]
    step: int


def load_trained(
    workdir: Path, config: ml_collections.ConfigDict, which: str, say: Callable[[str], None]
) -> Trained:
    """The model of a workdir.

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
    kept = ml_collections.ConfigDict(config)
    kept.model = with_kept_arch(config.model, workdir)
    spec = kind_of(kept).build(kept, len(classes))
    place = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    shapes = jax.eval_shape(spec.draw, jax.random.key(0))
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes
    )
    checkpoints = Checkpoints(folder, spec.describe(), read_only=True)
    restored = checkpoints.restore_params(like, say)
    return Trained(spec, restored.params, classes, restored.step)
