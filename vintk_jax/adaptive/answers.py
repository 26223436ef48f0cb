"""What a ReViT says about labelled images at every length: what assigners learn from, and what
thresholds are set by.

Goes through the images in blocks, each kept in a file of its own when it is done, so that a run
that was killed goes on.
"""

import dataclasses
import io
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from vintk_jax.adaptive.assigner_networks import num_sure
from vintk_jax.data.loader import Transform
from vintk_jax.data.sources import Source
from vintk_jax.files import write_atomically
from vintk_jax.inference.predictor import Predictor
from vintk_jax.models import resample
from vintk_jax.models.timesformer import frames_shown

BLOCK = 16  # batches in a file
_MOMENTS = 4  # frames of a clip that are in its thumbnail


@dataclasses.dataclass(frozen=True)
class Answers:
    """A model's answers to images, at all lengths.

    Attributes:
        names: the lengths, cheapest first.
        labels: the right classes.
        probabilities: of every class.
        thumbnails: the images, small.
        features: what each length's pass but the longest's knows of an image (`features_of`).
    """

    names: tuple[str, ...]
    labels: Int[np.ndarray, " n"]
    probabilities: Float[np.ndarray, "n lengths classes"]
    thumbnails: UInt8[np.ndarray, "n side side 3"]
    features: Float[np.ndarray, "n shorter features"]

    @property
    def right(self) -> Bool[np.ndarray, "n lengths"]:
        """Whether the most probable class is the label, at each length by itself."""
        return self.probabilities.argmax(-1) == self.labels[:, None]

    def some(self, which: Bool[np.ndarray, " n"] | Int[np.ndarray, " some"]) -> "Answers":
        """Those of some images."""
        return Answers(
            self.names,
            *(getattr(self, field.name)[which] for field in dataclasses.fields(self)[1:]),
        )

    def __add__(self, other: "Answers") -> "Answers":
        """The images of both."""
        if not isinstance(other, Answers) or other.names != self.names:
            return NotImplemented

        def both(name):
            return np.concatenate([getattr(self, name), getattr(other, name)])

        return Answers(self.names, *(both(field.name) for field in dataclasses.fields(self)[1:]))


def thumbnails(images: UInt8[Array, "n *image 3"], side: int) -> UInt8[Array, "n side side 3"]:
    """Images shrunk to `side` pixels, each an average over what it covers; of a clip four frames,
    two beside two, of several views the middle one.

    A clip's is our choice: a quarter of the pixels for each of four moments, in the form of an
    image, so that the same assigners read both.
    """
    if images.ndim == 6:
        images = images[:, images.shape[1] // 2]
    if images.ndim == 5:
        moments = (
            images[:, frames_shown(images.shape[1], _MOMENTS)]
            if images.shape[1] > _MOMENTS
            else jnp.repeat(images, _MOMENTS, 1)[:, :_MOMENTS]
        )
        n, _, height, width, channels = moments.shape
        images = (
            moments.reshape(n, 2, 2, height, width, channels)
            .transpose(0, 1, 3, 2, 4, 5)
            .reshape(n, 2 * height, 2 * width, channels)
        )
    rows, columns = (resample.shrinking_matrix(extent, side) for extent in images.shape[1:3])
    small = jnp.einsum(
        "ah,bw,nhwc->nabc",
        rows.astype(np.float32),
        columns.astype(np.float32),
        images.astype(jnp.float32),
    )
    return jnp.round(small).astype(jnp.uint8)


def features_of(
    probabilities: Float[Array, "n classes"], tokens: Float[Array, "n tokens embed"]
) -> Float[Array, "n features"]:
    """The class token, the mean of the others, and the highest log-probabilities in order: how
    sure, not of what.
    """
    ordered, _ = jax.lax.top_k(
        jnp.log(jnp.maximum(probabilities, 1e-6)), num_sure(probabilities.shape[1])
    )
    return jnp.concatenate([tokens[:, 0], tokens[:, 1:].mean(axis=1), ordered], axis=-1)


def _program(predictor: Predictor, side: int) -> Callable:
    lengths = [predictor.length(name) for name in reversed(predictor.names)]

    @jax.jit
    def run(variables, images):
        found = [
            one.in_pieces(partial(one, own), images)
            for one, own in zip(lengths, variables, strict=True)
        ]
        stacked = jnp.stack([probabilities for probabilities, _ in found], axis=1)
        return {
            "probabilities": stacked,
            "thumbnails": thumbnails(images, side),
            "features": jnp.stack([features_of(*one) for one in found[:-1]], axis=1),
        }

    variables = [one.variables for one in lengths]
    return lambda images: run(variables, images)


def collect(
    predictor: Predictor,
    source: Source,
    batch_size: int,
    side: int,
    folder: Path,
    advance: Callable[[int], None],
) -> Answers:
    """Run a source of labelled images through all lengths, or read what an earlier run has left.

    Args:
        side: pixels of thumbnails.
        folder: for the blocks; one of its own for each model and source.
        advance: called with the number of images done.

    Raises:
        UserError: for an image that can't be read.
    """
    run = None
    blocks = []
    for start in range(0, len(source), BLOCK * batch_size):
        stop = min(start + BLOCK * batch_size, len(source))
        path = folder / f"{start:09d}.npz"
        block = _read(path)
        if block is None:
            run = run or _program(predictor, side)
            block = _block(run, source, range(start, stop), batch_size, predictor.eval_transform)
            write_atomically(path, _packed(block))
        blocks.append(block)
        advance(stop)
    joined = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return Answers(tuple(reversed(predictor.names)), **joined)


def _block(
    run: Callable, source: Source, indices: Sequence[int], batch_size: int, transform: Transform
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parts = []
    labels = []
    for start in range(0, len(indices), batch_size):
        made = [transform(source[i], rng) for i in indices[start : start + batch_size]]
        labels += [element["label"] for element in made]
        images = np.stack([element["image"] for element in made])
        padded = np.concatenate(
            [images, np.zeros((batch_size - len(images), *images.shape[1:]), np.uint8)]
        )
        parts.append(
            {name: np.asarray(value)[: len(images)] for name, value in run(padded).items()}
        )
    return {
        "labels": np.array(labels),
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    }


def _packed(block: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **block)
    return stream.getvalue()


def _read(path: Path) -> dict[str, np.ndarray] | None:
    """A block, or None where there is none that can be read: it is made again."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None
