"""Opening what images lie in: files, folders, npz archives, TensorFlow Datasets. Every error names
the config's field that asked for it.
"""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from vintk_jax.errors import UserError
from vintk_jax.extras import missing

# ImageNet's, as everyone uses them
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm"}
ENDINGS = ", ".join(sorted(SUFFIXES))


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels of an image file.

    Raises:
        UserError: naming the file, when it can't be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (
        OSError,
        UnidentifiedImageError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:
        raise UserError(
            f"{path} can't be read as an image ({error}). Mend or remove it; the same command goes "
            "on."
        ) from error


def as_rgb(image: np.ndarray) -> UInt8[np.ndarray, "height width 3"]:
    """Three channels of an image that may have one, or no axis for it."""
    image = image if image.ndim == 3 else image[..., None]
    return image if image.shape[-1] == 3 else np.repeat(image, 3, axis=-1)


def is_images(array: np.ndarray) -> bool:
    """Whether an array looks like images: uint8, (n, height, width, 3 or 1) or (n, height,
    width).
    """
    return array.dtype == np.uint8 and (
        array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3))
    )


def folder(where: str, asked: str) -> Path:
    """An existing folder.

    Args:
        asked: the setting that named it, for the error.

    Raises:
        UserError: when there is none.
    """
    root = Path(where).expanduser()
    if not root.is_dir():
        raise UserError(f"{asked} came, but there is no folder {root.resolve()}.")
    return root


def files_below(root: Path) -> list[Path]:
    """Files anywhere below a folder that end as images do, in the order of their names."""
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)


@contextmanager
def npz(where: str, asked: str) -> Iterator[tuple[Path, Any]]:
    """An opened archive of arrays, and its path.

    Raises:
        UserError: when there is none, or it, or what is read from it inside the block, can't be
            read.
    """
    path = Path(where).expanduser()
    if not path.is_file():
        raise UserError(f"{asked} came, but there is no file {path.resolve()}.")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            yield path, arrays
    except UserError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} could not be read as an npz: {error}.") from error


def tfds_split(name: str, split: str, asked: str, wanted: tuple[str, ...]) -> tuple[Any, Any]:
    """A random-access split of a TensorFlow Datasets set, prepared on first use under tfds's own
    data directory, and its features.

    Args:
        wanted: features that it has to have.

    Raises:
        UserError: when it can't be loaded, or lacks a feature.
    """
    try:
        import tensorflow_datasets as tfds  # seconds to import
    except ModuleNotFoundError as error:
        raise missing(asked, error, "tfds") from error
    try:
        loaded = tfds.data_source(name, split=split)
    except ModuleNotFoundError as error:
        # Most sets that are prepared are read without TensorFlow; preparing one takes it.
        raise missing(asked, error, "tfds") from error
    except Exception as error:
        # tfds raises many types for an unknown set, a missing download, a failed checksum
        words = (str(error).strip().splitlines() or [""])[0]
        raise UserError(
            f"{asked} could not be loaded (split {split}): {type(error).__name__}: {words}"
        ) from error
    features = loaded.dataset_info.features
    if not set(wanted) <= set(features):
        raise UserError(
            f"{asked} has the features {', '.join(features)}; {' and '.join(wanted)} "
            f"{'was' if len(wanted) == 1 else 'were'} wanted."
        )
    return loaded, features
