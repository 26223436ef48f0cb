"""From a config to the model that is trained: a ViT by its sizes or an architecture that a search
found, at one token length or several.
"""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from vintk_jax import spaces
from vintk_jax.errors import UserError
from vintk_jax.files import write_atomically
from vintk_jax.models.conv_stem import STRIDE
from vintk_jax.models.segmenter import Segmenter
from vintk_jax.models.vit import ViT

INITS = ("fan_in", "deit")
_KEPT = "arch.json"  # in a workdir: the search's best.json
# layers that are drawn with DeiT's deviation
_FIXED_DEVIATION = ("qkv", "proj", "fc1", "fc2", "time_out")
# what models of earlier checkpoints have without saying so
_LATER = {"stem_width": 0, "residual_scale": 1.0, "aux_head": False}
_POSITIONS = 10.0  # with fan_in, positions start at 0.2 instead of 0.02


@dataclasses.dataclass(frozen=True)
class Trained:
    """A model and how to call it.

    Attributes:
        model: the module.
        grids: token rows and columns of each length, longest first; (None,) for a model that has
            only its own.
        image_size: pixels a side.
        init: how weights are drawn, one of `INITS`, or "own": by the model's initialisers, for a
            model that isn't a ViT.
        frames: of a clip; 0 for images. With clips a grid has the frames ahead of rows and columns.
        views: of a clip that is looked at, whose answers are averaged.
    """

    model: nn.Module
    grids: tuple[tuple[int, ...] | None, ...]
    image_size: int
    init: str
    frames: int = 0
    views: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each length: its number of patch tokens, as `fixed-N` has it; "all" for a
        model that has only its own.
        """
        return tuple("all" if grid is None else str(math.prod(grid)) for grid in self.grids)

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
        variables = self.model.init(
            key, images, *(() if self.grids[0] is None else (self.grids[0],))
        )
        return _by_fan_in(variables) if self.init == "fan_in" else variables

    def describe(self) -> dict[str, Any]:
        """The fields that its weights depend on, for checkpoints."""
        fields = {
            f.name: getattr(self.model, f.name)
            for f in dataclasses.fields(self.model)
            if f.name not in ("parent", "name", "dtype", "remat")
        }
        plain = {name: value for name, value in _LATER.items() if fields.get(name) == value}
        fields = {name: value for name, value in fields.items() if name not in plain}
        return json.loads(json.dumps({"model": type(self.model).__name__, **fields}, default=str))


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


def keep_arch(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Copy the architecture that a `model` section names into the workdir, so that predicting
    doesn't need the search's.

    Raises:
        UserError: where another architecture is kept already: what was trained is of that one.
    """
    if not config.arch:
        return
    kept = workdir / _KEPT
    if kept.exists() and read_best(str(kept)) != read_best(config.arch):
        raise UserError(
            f"{workdir} holds a model of another architecture than {config.arch} is now (a search "
            f"that goes on finds a better one); that is kept as {kept}. Choose another --workdir, "
            f"or go on with --config.model.arch={kept}."
        )
    write_atomically(kept, Path(config.arch).expanduser().read_bytes())


def with_kept_arch(config: ml_collections.ConfigDict, workdir: Path) -> ml_collections.ConfigDict:
    """A `model` section that names the workdir's copy."""
    if not config.arch:
        return config
    config = ml_collections.ConfigDict(config)
    config.arch = str(workdir / _KEPT)
    return config


def read_best(where: str) -> tuple[spaces.SearchSpace, Any]:
    """The space and architecture of a search's best.json.

    Raises:
        UserError: for a file that isn't there or isn't one.
    """
    path = Path(where).expanduser()
    try:
        best = json.loads(path.read_text())
        space, fields = best["space"], best["arch"]
    except FileNotFoundError as error:
        raise UserError(
            f"model.arch={where} came, but there is no such file. `python -m vintk_jax.search` "
            "writes one, best.json."
        ) from error
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no best.json: {type(error).__name__} {error}. An object with space and "
            "arch was wanted."
        ) from error
    found = spaces.get(space)
    return found, found.from_json(fields)


def dtype_of(name: str) -> Any:
    """The type of that name for modules; None for float32, their parameters'.

    Raises:
        UserError: for a name that is no type's.
    """
    try:
        return None if name == "float32" else jnp.dtype(name)
    except TypeError as error:
        raise UserError(f"model.dtype={name!r} came; float32 or bfloat16 was wanted.") from error


def build(config: ml_collections.ConfigDict, num_classes: int, image_size: int) -> Trained:
    """The model of a config's `model` section.

    Raises:
        UserError: for sizes that don't fit each other.
    """
    lengths = tuple(config.lengths)
    if not all(isinstance(side, int) and not isinstance(side, bool) for side in lengths):
        raise UserError(
            f"model.lengths={lengths} came; whole numbers of tokens a side were wanted."
        )
    if (
        not lengths
        or list(lengths) != sorted(set(lengths), reverse=True)
        or lengths[-1] < 1
        or lengths[0] > image_size
    ):
        raise UserError(
            f"model.lengths={lengths} came; tokens a side were wanted, longest first, from "
            f"{image_size} (pixels) down to 1."
        )
    if config.init not in INITS:
        raise UserError(f"model.init={config.init!r} came; {' or '.join(INITS)} was wanted.")
    dtype = dtype_of(config.dtype)
    if config.arch:
        space, arch = read_best(config.arch)
        if space.frames:
            raise UserError(
                f"model.arch={config.arch} is a video model, of {space.name}. Train it with "
                "configs/revit_clips.py."
            )
        side = 16 * lengths[0] if space.name.startswith("autoformer") else image_size
        model = space.model(arch, image_size=side, num_classes=num_classes)
    else:
        if config.embed_dim % config.num_heads or config.pool not in ("token", "mean"):
            raise UserError(
                f"model.embed_dim={config.embed_dim}, num_heads={config.num_heads}, "
                f"pool={config.pool!r} came; heads that divide the width, and "
                "token or mean, were wanted."
            )
        model = ViT(
            embed_dim=config.embed_dim,
            num_heads=(config.num_heads,) * config.depth,
            hidden=(int(config.embed_dim * config.mlp_ratio),) * config.depth,
            head_dim=config.embed_dim // config.num_heads,
            num_classes=num_classes,
            pool=config.pool,
            **{name: config.get(name, value) for name, value in _LATER.items()},
        )
    if isinstance(model, Segmenter):
        raise UserError(
            f"model.arch={config.arch} is a segmenter. Train it with configs/segment_digits.py or "
            "another that has a section segmentation."
        )
    if not isinstance(model, ViT):
        if len(lengths) > 1:
            raise UserError(
                f"model.lengths={lengths} came; a {type(model).__name__} has one length. Give one, "
                "or take a ViT."
            )
        has_dtype = any(field.name == "dtype" for field in dataclasses.fields(model))
        if dtype is not None and not has_dtype:
            raise UserError(
                f"model.dtype={config.dtype} came; a {type(model).__name__} has no field `dtype`, "
                "and computes in float32."
            )
        return Trained(model.clone(dtype=dtype) if has_dtype else model, (None,), image_size, "own")
    grids = tuple((side, side) for side in lengths)
    patch_size = config.patch_size or round(image_size / lengths[0])
    if model.stem_width and (patch_size % STRIDE or STRIDE * lengths[0] > image_size):
        raise UserError(
            f"Patches of {patch_size} pixels (model.patch_size) and {lengths[0]} tokens a side "
            "came; a stem's features are half as high and wide as "
            f"the image: an even number, and at most {image_size // STRIDE} tokens a side, were "
            "wanted."
        )
    model = model.clone(
        patch_size=patch_size,
        native_grid=grids[0],
        norm_grids=grids if config.separate_norms and len(grids) > 1 else (),
        dtype=dtype,
        scan=config.scan,
        remat=config.remat,
    )
    return Trained(model, grids, image_size, config.init)
