"""A trained model for use in a program: each token length an ordinary ViT of its own, folded once,
compiled once a batch shape.

predictor = Predictor.load("runs/revit_digits")
probabilities = predictor(images, "16")         # uint8 (n, size, size, 3) -> (n, classes)
"""

import dataclasses
import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, UInt8

from vintk_jax.data.archives import distinct
from vintk_jax.data.augment import Centre
from vintk_jax.data.loader import Transform
from vintk_jax.data.pixels import check_batch
from vintk_jax.errors import UserError
from vintk_jax.models.folding import Length, fitted, fold, has_stem
from vintk_jax.models.passes import with_tokens
from vintk_jax.models.regions import Regions
from vintk_jax.pieces import bytes_of, in_pieces
from vintk_jax.tasks import kind_of
from vintk_jax.tasks.loading import Trained, load_trained
from vintk_jax.tasks.model_spec import ModelSpec
from vintk_jax.tasks.objectives import normalise
from vintk_jax.tasks.views import over_views
from vintk_jax.workdir.checkpoints import BEST, checksum
from vintk_jax.workdir.config_claims import read_claimed


@dataclasses.dataclass(frozen=True)
class OneLength:
    """A trained model at one of its lengths: a pure function of variables and images.

    Attributes:
        model: an ordinary model of that length; variables: its own.
        grid: token rows and columns, for clips the frames ahead of them, or regions; None for a
            model that has only its own.
        shape: of an image or a clip, as the model is given it.
    """

    model: nn.Module
    variables: Any
    grid: Length | None
    shape: tuple[int, ...]

    @classmethod
    def of(cls, spec: ModelSpec, params: Any, grid: Length | None) -> "OneLength":
        """Fold a trained model's variables for a length; regions have two grids, and are left as
        they are.
        """
        if grid is None or isinstance(grid, Regions):
            return cls(spec.model, params, grid, spec.shape)
        model, variables = fold(spec.model, params, grid, spec.image_size, spec.frames)
        return cls(model, variables, grid, spec.shape)

    def __call__(
        self, variables: Any, images: UInt8[Array, "n *image 3"]
    ) -> tuple[Float[Array, "n classes"], Float[Array, "n *tokens embed"]]:
        """Probabilities, and what the last norm gives the classifier; of a clip in several views,
        the means. By region: after both passes.
        """
        return over_views(partial(self._one_view, variables), images)

    def own_pass(
        self,
        variables: Any,
        images: UInt8[Array, "n *image 3"],
        known: Float[Array, "n coarse embed"] | None = None,
    ) -> tuple[Float[Array, "n classes"], Float[Array, "n *tokens embed"]]:
        """The same, of the last pass alone.

        Args:
            known: what the last norm gave in the pass that a length by region begins with.
        """
        if known is None:
            return self(variables, images)
        logits, tokens = with_tokens(
            self.model, variables, normalise(images), self.grid, known=known
        )
        return jax.nn.softmax(logits.astype(jnp.float32)), tokens

    def probabilities(
        self, variables: Any, images: UInt8[Array, "n *image 3"]
    ) -> Float[Array, "n classes"]:
        """Probabilities alone."""
        return self(variables, images)[0]

    def probabilities_in_pieces(
        self, variables: Any, images: UInt8[Array, "n *image 3"]
    ) -> Float[Array, "n classes"]:
        """`probabilities`, `in_pieces`."""
        return self.in_pieces(partial(self.probabilities, variables), images)

    def in_pieces(self, run: Callable[..., Any], images: Any) -> Any:
        """`run(images)`, which holds a pass at this length, a piece of the images (and of what
        comes with them, as a tree) after another where that is faster (`pieces`).
        """

        def each():
            return self._bytes_each

        return in_pieces(run, images, each)

    @functools.cached_property
    def _bytes_each(self) -> int:
        """What a pass puts out for one image or clip."""
        one = jax.ShapeDtypeStruct((1, *self.shape), jnp.uint8)
        return bytes_of(self.probabilities, self.variables, one)

    def _one_view(self, variables, images):
        if isinstance(self.grid, Regions):
            _, known = with_tokens(self.model, variables, normalise(images), self.grid.grid)
            return self.own_pass(variables, images, known)
        images = normalise(images)
        if self.grid is not None:
            images = fitted(images, self.grid, has_stem(self.model))
        logits, tokens = with_tokens(self.model, variables, images)
        return jax.nn.softmax(logits.astype(jnp.float32)), tokens


def refuse_segmenter(workdir: Path, config: ml_collections.ConfigDict) -> None:
    """Refuse a training whose model gives no class of an image.

    Raises:
        UserError: for one of a segmenter.
    """
    if kind_of(config).name == "segmentation":
        raise UserError(
            f"Expected a classifier, got a segmenter in {workdir}. `python -m "
            "vintk_jax.infer` writes its maps."
        )


class Predictor:
    """Class probabilities of images at any of the lengths that a model was trained for.

    Args:
        spec: the model.
        params: its variables.
        classes: names of its outputs.
        eval_transform: makes an image, or a clip, ready for it; the centre square without one.
    """

    def __init__(
        self,
        spec: ModelSpec,
        params: Any,
        classes: tuple[str, ...],
        eval_transform: Transform | None = None,
    ):
        self.classes = tuple(distinct(classes))
        self.shape = spec.shape
        self.eval_transform = eval_transform or Centre(spec.image_size)
        self.identity = f"{checksum(params):08x}"
        self._lengths = {
            name: OneLength.of(spec, params, grid)
            for name, grid in zip(spec.names, spec.grids, strict=True)
        }
        self._programs = {
            name: jax.jit(length.probabilities_in_pieces) for name, length in self._lengths.items()
        }

    @classmethod
    def load(
        cls,
        workdir: str | Path,
        config: ml_collections.ConfigDict | None = None,
        which: str = BEST,
        say: Callable[[str], None] = print,
    ) -> "Predictor":
        """The model that was trained into a workdir.

        Args:
            config: the training's; read from the workdir if None.
            which: "best" or "last".
            say: called with what there is to say about a corrupt checkpoint.

        Raises:
            UserError: when nothing was trained there, or no checkpoint can be read.
        """
        workdir = Path(workdir)
        config = read_claimed(workdir, "train") if config is None else config
        refuse_segmenter(workdir, config)
        return cls.of(load_trained(workdir, config, which, say), config)

    @classmethod
    def of(cls, trained: Trained, config: ml_collections.ConfigDict) -> "Predictor":
        """The classifier that was loaded.

        Args:
            config: of its training.
        """
        transform = kind_of(config).eval_transform(config)
        return cls(trained.spec, trained.params, trained.classes, transform)

    @property
    def names(self) -> tuple[str, ...]:
        """The lengths by name: the number of patch tokens, longest first."""
        return tuple(self._lengths)

    def choose(self, sides: tuple[int, ...]) -> tuple[str, ...]:
        """The names of lengths by their tokens a side; all for none.

        Raises:
            UserError: for a length that wasn't trained.
        """
        by_side = {
            length.grid[-1] if length.grid else 0: name
            for name, length in self._lengths.items()
            if not isinstance(length.grid, Regions)
        }
        unknown = [side for side in sides if side not in by_side]
        if unknown:
            raise UserError(
                f"Expected lengths of {tuple(by_side)} tokens a side, which the model was trained "
                f"for, got {tuple(sides)}."
            )
        return tuple(by_side[side] for side in sides) or self.names

    def __call__(self, images: Any, length: str) -> Float[jax.Array, "n classes"]:
        """Probabilities; a new number of images compiles anew.

        Args:
            images: uint8, (n, *shape).
            length: one of `names`.

        Raises:
            UserError: for images of another type or shape, and for a length that there isn't.
        """
        check_batch(images, self.shape)
        if length not in self._programs:
            raise UserError(f"Expected a length of {', '.join(self.names)}, got {length!r}.")
        if not len(images):
            return jnp.zeros((0, len(self.classes)))
        return self._programs[length](self._lengths[length].variables, images)

    def length(self, name: str) -> OneLength:
        """The model of one length, to build other programs from."""
        return self._lengths[name]
