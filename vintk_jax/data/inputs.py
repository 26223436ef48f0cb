"""Batches of images that architectures are scored on: from photographs that scikit-learn ships, tfds, a folder, an npz, or noise.

All come back standardised by ImageNet's channel means and deviations (noise: N(0, 1)), float32, NHWC, and depend only on the seed.
"""

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError

from vintk_jax.errors import UserError

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])  # ImageNet's, as everyone uses them
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}

Images = Float[np.ndarray, "n size size 3"]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A batch, with what a person should know about how it came about."""

    images: Images
    notes: tuple[str, ...] = ()


def _square(image: Image.Image, size: int) -> np.ndarray:
    """The centre square, resized, as RGB in [0, 1]."""
    image = image.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.asarray(image, np.float32) / 255


def _standardise(images: list[np.ndarray]) -> np.ndarray:
    return ((np.stack(images) - MEAN) / STD).astype(np.float32)


def _photos(_: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """Random square crops, from 64 pixels to the whole height, of the two photographs that scikit-learn ships."""
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    crops = []
    for i in range(count):
        photo = photos[i % len(photos)]
        side = int(rng.integers(64, min(photo.size) + 1))
        left, top = (int(rng.integers(0, extent - side + 1)) for extent in photo.size)
        crops.append(_square(photo.crop((left, top, left + side, top + side)), size))
    return Inputs(_standardise(crops))


def _noise(_: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """Independent standard normal pixels."""
    return Inputs(rng.standard_normal((count, size, size, 3)).astype(np.float32))


def _folder(where: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """Images anywhere below a folder, in random order; broken ones are skipped and named."""
    root = Path(where).expanduser()
    if not root.is_dir():
        raise UserError(f"inputs.source=folder:{where} came, but there is no folder {root.resolve()}.")
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    images, broken = [], []
    for index in rng.permutation(len(paths)):
        if len(images) == count:
            break
        try:
            with Image.open(paths[index]) as image:
                images.append(_square(image, size))
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            broken.append(f"{paths[index].relative_to(root)} ({error})")
    named = "; ".join(broken[:5]) + (f"; and {len(broken) - 5} more" if len(broken) > 5 else "")
    note = f"skipped {len(broken)} broken image(s): {named}" if broken else ""
    if len(images) < count:
        kinds = ", ".join(sorted(SUFFIXES))
        raise UserError(
            f"{root} holds {len(images)} readable image(s) of {len(paths)} with a known ending ({kinds}); inputs.num_images={count} are wanted. "
            f"{note[:1].upper() + note[1:] + '. ' if note else ''}Add images or lower inputs.num_images."
        )
    return Inputs(_standardise(images), (note,) if note else ())


def _npz(where: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """The first array of an npz that looks like images: uint8, (n, height, width, 3) or (n, height, width)."""
    path = Path(where).expanduser()
    if not path.is_file():
        raise UserError(f"inputs.source=npz:{where} came, but there is no file {path.resolve()}.")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            for name in arrays.files:
                array = arrays[name]
                if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3))):
                    return _from_sequence(array, len(array), f"{path}[{name}]", count, size, rng)
            shapes = ", ".join(f"{name} {arrays[name].dtype}{arrays[name].shape}" for name in arrays.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} could not be read as an npz: {error}.") from error
    raise UserError(
        f"{path} holds {shapes or 'nothing'}; an array of images was wanted: uint8, (n, height, width, 3) or (n, height, width)."
    )


def _tfds(where: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    """Images of the train split of a TensorFlow Datasets set, prepared on first use under tfds's own data directory."""
    import tensorflow_datasets as tfds  # seconds to import

    try:
        source = tfds.data_source(where, split="train", decoders=None)
    except Exception as error:  # tfds raises many types for an unknown set, a missing download, a failed checksum
        raise UserError(
            f"inputs.source=tfds:{where} could not be loaded: {type(error).__name__}: {str(error).strip().splitlines()[0]}"
        ) from error
    if len(source) == 0 or "image" not in source[0]:
        raise UserError(f"inputs.source=tfds:{where} has no 'image' feature in its train split; a set of images was wanted.")

    class View:
        def __getitem__(self, index):
            return source[int(index)]["image"]

    return _from_sequence(View(), len(source), f"tfds:{where}", count, size, rng)


def _from_sequence(array, length: int, name: str, count: int, size: int, rng: np.random.Generator) -> Inputs:
    if length < count:
        raise UserError(f"{name} holds {length} image(s); inputs.num_images={count} are wanted. Lower inputs.num_images.")
    chosen = [np.asarray(array[int(i)]) for i in rng.choice(length, count, replace=False)]
    return Inputs(
        _standardise([_square(Image.fromarray(image.squeeze(-1) if image.shape[-1:] == (1,) else image), size) for image in chosen])
    )


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
        raise UserError(f"inputs.source={source!r} came; photos, noise, folder:PATH, npz:PATH or tfds:NAME was wanted.")
    if num_images < 2 or image_size < 1:
        raise UserError(f"inputs.num_images={num_images} and inputs.image_size={image_size} came; two images and one pixel are the least.")
    return _SOURCES[kind](where, num_images, image_size, np.random.default_rng(seed))
