"""Opening what images lie in: npz archives and TensorFlow Datasets. Every error names the config's
field that asked for it. Files and folders are `pixels`' and `folders`'.
"""

import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

from vintk_jax import unpacking
from vintk_jax.data import folders, pixels
from vintk_jax.errors import UserError
from vintk_jax.extras import missing

# ImageNet's, as everyone uses them
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])
# What NumPy and zipfile raise for archives that aren't whole.
_UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


def shaped_as_images(array: np.ndarray) -> bool:
    """Whether an array has the shape of images: (n, height, width, 3 or 1) or (n, height,
    width).
    """
    return array.ndim == 3 or (array.ndim == 4 and array.shape[-1] in (1, 3))


def images_of(array: np.ndarray, what: str) -> UInt8[np.ndarray, "n height width *channels"]:
    """An array of images as bytes (see `pixels.to_uint8`).

    Args:
        what: it is, for the error.

    Raises:
        UserError: for other shapes, and for values without a meaning.
    """
    if not shaped_as_images(array) or not all(array.shape[1:]):
        raise UserError(
            f"Expected {what} of shape (n, height, width, 3) or (n, height, width), with pixels, "
            f"got {array.dtype}{array.shape}."
        )
    return pixels.to_uint8(array, what)


def labels_of(
    arrays: Any, path: Path, split: str, count: int
) -> tuple[Integer[np.ndarray, " n"], list[str]]:
    """Labels of a split of an npz, checked, and the names of all classes.

    Classes are `class_names`, or the numbers from 0 to the largest that any split has, each of
    which has to occur.

    Args:
        count: images of the split.

    Raises:
        UserError: for labels of another number or type, below 0, beyond the names, or with gaps.
    """
    labels = arrays[f"y_{split}"]
    of_splits = [labels]
    for name in arrays.files:
        others = name.startswith("y_") and name != f"y_{split}"
        if others and f"x_{name[2:]}" in arrays.files:
            of_split = arrays[name]
            if of_split.ndim != 1 or not np.issubdtype(of_split.dtype, np.integer):
                raise UserError(
                    f"Expected {path}[{name}] to hold integers from 0 on, one for each image of "
                    f"x_{name[2:]}, got {of_split.dtype}{of_split.shape}."
                )
            of_splits.append(of_split)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        of_splits = []
    every = np.concatenate([np.zeros(0, int), *of_splits])
    check_labels(labels, arrays, f"{path}[y_{split}]", count, every)
    return labels, class_names(every, arrays)


def check_labels(
    labels: np.ndarray,
    arrays: Any,
    what: str,
    count: int,
    every: np.ndarray | None = None,
) -> None:
    """Refuse labels that are no classes, before anything is made for each class.

    Args:
        labels: of a split.
        arrays: of the npz, which may have `class_names`.
        what: they are, for the error.
        count: images of the split.
        every: labels of all splits, each class of which has to occur; None: `labels`.

    Raises:
        UserError: see `labels_of`.
    """
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise UserError(
            f"Expected {what} to hold {count} integers from 0 on, got {labels.dtype}{labels.shape}."
        )
    if "class_names" in arrays.files:
        names = class_names(labels, arrays)
        if count and (labels.min() < 0 or labels.max() >= len(names)):
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise UserError(
                f"{what} holds class {wrong}; class_names has {len(names)} names, for 0 to "
                f"{len(names) - 1}."
            )
        return
    there = np.unique(labels if every is None else every)
    if len(there) and there[0] < 0:
        raise UserError(f"Expected labels from 0 on in {what}, got {there[0]}.")
    gaps = np.setdiff1d(np.arange(len(there)), there)
    if len(gaps):
        raise UserError(
            f"{what}: the labels go up to {there[-1]}, but there is no {gaps[0]}. Number the "
            f"{len(there)} classes from 0 to {len(there) - 1}, or name all of them in an array "
            "class_names."
        )


def class_names(labels: np.ndarray, arrays: Any) -> list[str]:
    """The names in an npz, or the numbers of checked labels.

    Raises:
        UserError: for names that aren't a row of texts.
    """
    if "class_names" in arrays.files:
        names = arrays["class_names"]
        if names.ndim != 1 or names.dtype.kind not in "US":
            raise UserError(
                "Expected class_names to be a row of texts, a name for each class, got "
                f"{names.dtype}{names.shape}."
            )
        as_text = names.tolist()
        return [
            name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
            for name in as_text
        ]
    return [str(i) for i in range(len(np.unique(labels)))]


def distinct(names: Sequence[str]) -> list[str]:
    """Names of classes, of which no two are alike: those that are get their number (ImageNet has
    two classes called crane).
    """
    counts = Counter(names)
    return [f"{name} ({i})" if counts[name] > 1 else name for i, name in enumerate(names)]


@contextmanager
def npz(where: str, asked: str) -> Iterator[tuple[Path, Any]]:
    """An opened archive of arrays, and its path.

    Raises:
        UserError: when there is none, or it, or what is read from it inside the block, can't be
            read.
    """
    path = folders.path_of(where, asked)
    if not path.is_file():
        raise UserError(f"Expected a file for {asked}, but there is no file {path.resolve()}.")
    try:
        if zipfile.is_zipfile(path):
            unpacking.check_archive(path)
        with open(path, "rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise UserError(
                    f"Expected an archive of named arrays in {path}, got one array without a name "
                    "(np.save). Save it as np.savez(path, x_train=..., y_train=...)."
                )
            with arrays:
                yield path, arrays
    except UserError:
        raise
    except _UNREADABLE as error:
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
            f"Expected {asked} to have the features {' and '.join(wanted)}, got "
            f"{', '.join(features)}."
        )
    return loaded, features


def tfds_version(loaded: Any) -> str:
    """The full name of a loaded set, with its config and version, where it says so."""
    return getattr(loaded.dataset_info, "full_name", "")
