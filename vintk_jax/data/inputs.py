"""Batches of images that architectures are scored on: from photographs that scikit-learn ships,
tfds, a folder, an npz, or noise.

All come back standardised by ImageNet's channel means and deviations (noise: N(0, 1)), float32,
NHWC, and depend only on the seed.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from vintk_jax.data import archives, folders, pixels, shipped
from vintk_jax.errors import UserError

Images = Float[np.ndarray, "n *image 3"]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A batch of images or clips, with what a person should know about how it came about."""

    images: Images
    notes: tuple[str, ...] = ()


def _square(
    pixels: UInt8[np.ndarray, "height width 3"], size: int
) -> Float[np.ndarray, "size size 3"]:
    """The centre square, resized, in [0, 1]."""
    image = Image.fromarray(pixels)
    side = min(image.size)
    left = (image.width - side) // 2
    top = (image.height - side) // 2
    image = image.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )
    return np.asarray(image, np.float32) / 255


def standardise(squares: list[np.ndarray]) -> Images:
    """A batch of images or clips with values in [0, 1], by ImageNet's channel means and
    deviations.
    """
    return ((np.stack(squares) - archives.MEAN) / archives.STD).astype(np.float32)


def _photos(_: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """Random square crops, from 64 pixels to the whole height, of the two photographs that
    scikit-learn ships.
    """
    photos = [Image.fromarray(photo) for photo in shipped.photographs()]
    crops = []
    for i in range(count):
        photo = photos[i % len(photos)]
        side = int(rng.integers(64, min(photo.size) + 1))
        left, top = (int(rng.integers(0, extent - side + 1)) for extent in photo.size)
        crops.append(_square(np.asarray(photo.crop((left, top, left + side, top + side))), size))
    return Inputs(standardise(crops))


def _noise(_: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """Independent standard normal pixels."""
    return Inputs(rng.standard_normal((count, size, size, 3)).astype(np.float32))


def _folder(where: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """Images anywhere below a folder, in random order. Broken ones are skipped and named."""
    root = folders.folder(where, f"inputs.source=folder:{where}")
    paths = folders.files_below(root)
    squares = []
    broken = []
    for index in rng.permutation(len(paths)):
        if len(squares) == count:
            break
        try:
            squares.append(_square(pixels.read_image(paths[index]), size))
        except UserError as error:
            broken.append(
                f"{folders.readable(paths[index].relative_to(root))} ({error.__cause__ or error})"
            )
    more = f"; and {len(broken) - 5} more" if len(broken) > 5 else ""
    skipped = f"{len(broken)} broken image(s): {'; '.join(broken[:5])}{more}"
    if len(squares) < count:
        raise UserError(
            f"Expected inputs.num_images={count} images below {root}, got {len(squares)} readable "
            f"image(s) of {len(paths)} with a known ending ({folders.ENDINGS}). "
            f"{f'Skipped {skipped}. ' if broken else ''}Add images or lower inputs.num_images."
        )
    return Inputs(standardise(squares), (f"skipped {skipped}",) if broken else ())


def _npz(where: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """The images of an npz: its array called x_train, or another x_..., or the one array that has
    the shape of images.
    """
    with archives.npz(where, f"inputs.source=npz:{where}") as (path, arrays):
        shaped = [name for name in arrays.files if archives.shaped_as_images(arrays[name])]
        named = [name for name in shaped if name == "x" or name.startswith("x_")]
        others = [name for name in shaped if not name.startswith("y")]
        if not named and len(others) > 1:
            raise UserError(
                f"{path} holds several arrays that may be images: {', '.join(others)}. Call the "
                "one that is meant x_train."
            )
        if named or others:
            name = "x_train" if "x_train" in named else (named or others)[0]
            if not named and arrays[name].ndim == 3 and arrays[name].shape[-1] in (1, 3):
                raise UserError(
                    f"{path}[{name}] has the shape {arrays[name].shape}: one picture with "
                    "channels, or many of a few columns? Call it x_train, or add an axis for the "
                    "images."
                )
            pictures = archives.images_of(arrays[name], f"{path}[{name}]")
            return _from_sequence(pictures, f"{path}[{name}]", count, size, rng)
        shapes = ", ".join(
            f"{name} {arrays[name].dtype}{arrays[name].shape}" for name in arrays.files
        )
    raise UserError(
        f"Expected an array of images in {path}, (n, height, width, 3) or (n, height, width), got "
        f"{shapes or 'nothing'}."
    )


def _tfds(where: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """Images of the train split of a TensorFlow Datasets set."""
    split, _ = archives.tfds_split(where, "train", f"inputs.source=tfds:{where}", ("image",))
    return _from_sequence(split, f"tfds:{where}", count, size, rng)


def _from_sequence(sequence, name: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """Random ones of a sequence of images, or of elements that hold one."""
    if len(sequence) < count:
        raise UserError(
            f"Expected inputs.num_images={count} images from {name}, got {len(sequence)}. Lower "
            "inputs.num_images."
        )
    squares = []
    for i in rng.choice(len(sequence), count, replace=False):
        element = sequence[int(i)]
        image = element["image"] if isinstance(element, dict) else element
        squares.append(_square(pixels.as_rgb(np.asarray(image)), size))
    return Inputs(standardise(squares))


_SOURCES: dict[str, Callable[[str, int, int, np.random.Generator], Inputs]] = {
    "photos": _photos,
    "noise": _noise,
    "folder": _folder,
    "npz": _npz,
    "tfds": _tfds,
}


def load(source: str, num_images: int, image_size: int, seed: int) -> Inputs:
    """Load a batch.

    Args:
        source: "photos", "noise", "folder:PATH", "npz:PATH" or "tfds:NAME".
        num_images: how many; two at least, for a kernel has to tell inputs apart.
        image_size: pixels a side; other sizes are cut to the centre square and resized.

    Raises:
        UserError: for an unknown source, too few images, or none that can be read.
    """
    kind, _, where = source.partition(":")
    if kind not in _SOURCES or (kind in ("folder", "npz", "tfds") and not where):
        raise UserError(
            "Expected inputs.source to be photos, noise, folder:PATH, npz:PATH or tfds:NAME, got "
            f"{source!r}."
        )
    if num_images < 2 or image_size < 1:
        raise UserError(
            "Expected inputs.num_images of two images at least and inputs.image_size of one pixel "
            f"at least, got {num_images} and {image_size}."
        )
    return _SOURCES[kind](where, num_images, image_size, np.random.default_rng(seed))
