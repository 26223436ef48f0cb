"""A model and how to call it, whether it is trained or not."""

import dataclasses
import json
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from vintk_jax.errors import UserError
from vintk_jax.models.conv_stem import SIDES
from vintk_jax.models.folding import Length
from vintk_jax.models.passes import drawn
from vintk_jax.models.regions import Regions

INITS = ("fan_in", "deit")
# layers that are drawn with DeiT's deviation
_FIXED_DEVIATION = ("qkv", "proj", "fc1", "fc2", "time_out")
# Fields that models of earlier checkpoints have without saying so.
LATER_FIELDS = {
    "stem_width": 0,
    "stem_sides": SIDES,
    "residual_scale": 1.0,
    "aux_head": False,
}
_POSITIONS = 10.0  # with fan_in, positions start at 0.2 instead of 0.02


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model and how to call it.

    Attributes:
        model: the module.
        grids: token rows and columns of each length, or its regions, longest first; (None,) for a
            model that has only its own.
        image_size: pixels a side.
        init: how weights are drawn, one of `INITS`, or "own": by the model's initialisers, for a
            model that isn't a ViT.
        frames: of a clip; 0 for images. With clips a grid has the frames ahead of rows and columns.
        views: of a clip that is looked at, whose answers are averaged.
    """

    model: nn.Module
    grids: tuple[Length | None, ...]
    image_size: int
    init: str
    frames: int = 0
    views: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each length (`name_of`), as `fixed-N` has it."""
        return tuple(name_of(grid) for grid in self.grids)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an image, a clip, or the views of one."""
        return (
            *([self.views] if self.views > 1 else []),
            *([self.frames] if self.frames else []),
            self.image_size,
            self.image_size,
            3,
        )

    def draw(self, key: jax.Array) -> dict:
        """Variables at the start."""
        images = jnp.zeros((1, *self.shape[self.views > 1 :]))
        variables = drawn(self.model, key, images, self.grids)
        return _by_fan_in(variables) if self.init == "fan_in" else variables

    def describe(self) -> dict[str, Any]:
        """The fields that its weights depend on, for checkpoints."""
        fields = {
            f.name: getattr(self.model, f.name)
            for f in dataclasses.fields(self.model)
            if f.name not in ("parent", "name", "dtype", "remat")
        }
        plain = {name: value for name, value in LATER_FIELDS.items() if fields.get(name) == value}
        fields = {name: value for name, value in fields.items() if name not in plain}
        return json.loads(json.dumps({"model": type(self.model).__name__, **fields}, default=str))


def name_of(grid: Length | None) -> str:
    """A number of patch tokens; "16+40" for two passes, "all" for a model's own."""
    if grid is None:
        return "all"
    return str(grid if isinstance(grid, Regions) else math.prod(grid))


def _by_fan_in(variables: dict) -> dict:
    """Linear layers' weights with variance 1 / inputs, larger positions.

    DeiT's deviation of 0.02 for every width is made for some 400 columns; with 64, signals die out
    and training sits on its first plateau (our choice, by trying on the embedded digits).
    """

    def scaled(path, leaf):
        names = [str(part.key) for part in path]
        if names[-1] == "kernel" and (
            names[-2] in _FIXED_DEVIATION or names[-2].startswith("pool_token")
        ):
            return leaf * (leaf.shape[-2] ** -0.5 / 0.02)
        return leaf * _POSITIONS if names[-2] == "positions" else leaf

    return jax.tree_util.tree_map_with_path(scaled, variables)


def dtype_of(name: str) -> Any:
    """The type of that name for modules; None for float32, their parameters'.

    Raises:
        UserError: for a name that is no type's.
    """
    try:
        return None if name == "float32" else jnp.dtype(name)
    except TypeError as error:
        raise UserError(f"Expected model.dtype to be float32 or bfloat16, got {name!r}.") from error
