"""What a set of images is, ahead of any work on it: how many, of which classes, how large, and
which can't be used. Files are looked at by their headers and their ends; few are decoded.
"""

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from PIL import Image

from vintk_jax.adapting.given import splits_of
from vintk_jax.data import folders, pixels
from vintk_jax.data.sources import Source, open_source
from vintk_jax.errors import UserError

_LOOKED_AT = 256  # images of a source that is no folder whose sizes are looked at
_TAIL = 64  # bytes; some programs write a few behind an image's end
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}


@dataclasses.dataclass(frozen=True)
class Survey:
    """A set of images.

    Attributes:
        source: as data.source has it.
        train, labels, test: the splits to train on, to learn lengths from, and to measure on.
        counts: images of each of these, by those names.
        class_counts: images by class, over all splits; empty where only decoding would tell.
        classes: their number.
        sides: the least, the median and the largest shorter side in pixels.
        broken: what is wrong with images that can't be read, by name.
        small, large: names of images that are too small to show anything, and too large to decode
            again and again.
        identity: another text when any image or label is another.
    """

    source: str
    train: str
    labels: str
    test: str
    counts: dict[str, int]
    class_counts: dict[str, int]
    classes: int
    sides: tuple[int, int, int]
    broken: dict[str, str]
    small: tuple[str, ...]
    large: tuple[str, ...]
    identity: str

    def to_json(self) -> dict[str, Any]:
        """What plan.json keeps of it: no lists of files, which are empty by then."""
        kept = dataclasses.asdict(self)
        for name in ("broken", "small", "large", "class_counts"):
            del kept[name]
        return kept

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Survey":
        """The inverse of `to_json`."""
        lists = {"broken": {}, "small": (), "large": (), "class_counts": {}}
        return cls(**{**values, **lists, "sides": tuple(values["sides"])})


# Our choices. Of fewer than 20 images nothing can be held out. Below 8 pixels a side nothing can be
# seen; beyond 50 million pixels decoding takes a second, and a training decodes each many times.
LEAST_SIDE = 8
LEAST_IMAGES = 20
MOST_PIXELS = 50_000_000


def survey(
    where: str,
    advance: Callable[[int, int], None],
    training: ml_collections.ConfigDict | None = None,
) -> Survey:
    """Look at a source of labelled images.

    A folder with a split "val" gives it to the assigner; where there is none, the last fifth of the
    training images (in the order of the source, which is random for folders). Likewise the embedded
    digits have a split for it.

    Args:
        where: as data.source.
        advance: called with how many files have been looked at, and of how many.
        training: config of a training that is given, whose splits are taken.

    Raises:
        UserError: for a source that can't be opened, or a training that has left no images out.
    """
    files = _of_files(where, advance) if where.startswith("folder:") else None
    if files is not None and sum(files["class_counts"].values()) < LEAST_IMAGES:
        raise UserError(
            f"{where} has {sum(files['class_counts'].values())} images with a known ending "
            f"({folders.ENDINGS}); {LEAST_IMAGES} are the least, some hundred of each class are "
            "good. Expected PATH/CLASS/IMAGE, or PATH/train/CLASS/IMAGE and so on."
        )
    train, labels, test = _splits(where) if training is None else _splits_of(where, training)
    sources = {
        name: open_source(where, split)
        for name, split in (("train", train), ("labels", labels), ("test", test))
    }
    identity = "-".join(source.identity for source in sources.values())
    found = {
        "source": where,
        "train": train,
        "labels": labels,
        "test": test,
        "counts": {name: len(source) for name, source in sources.items()},
        "classes": len(sources["train"].classes),
        "identity": identity,
    }
    if files is not None:
        return Survey(**found, **files)
    return Survey(**found, **_of_source(sources["train"]))


def _splits(where: str) -> tuple[str, str, str]:
    """Names of the splits to train on, to learn lengths from, and to measure on."""
    if where == "digits":
        return "train", "assign", "test"
    there = [split for split in ("val", "test") if _has(where, split)]
    if not there:
        open_source(where, "train")  # says what is wrong, where more is
        open_source(where, "test")
    if len(there) == 2:
        return "train", "val", "test"
    return "train[:80%]", "train[80%:]", there[0]


def _splits_of(where: str, training: ml_collections.ConfigDict) -> tuple[str, str, str]:
    """The same for a training that is given: what it has left out of its images, or a split val.

    Raises:
        UserError: where there is neither.
    """
    train, left, test = splits_of(training)
    if left is None and _has(where, "val"):
        left = "val"
    if left is None:
        raise UserError(
            f"The model that was given was trained on {train} of {where}, and no images are left "
            "to learn lengths from. Train on a part (--config.data.train_split=train[:80%]), or "
            "add a folder val/."
        )
    return train, left, test


def _has(where: str, split: str) -> bool:
    try:
        return len(open_source(where, split)) > 0
    except UserError:
        return False


def _of_source(source: Source) -> dict[str, Any]:
    """Sizes from a few images, evenly spread."""
    chosen = np.unique(np.linspace(0, len(source) - 1, min(_LOOKED_AT, len(source))).astype(int))
    sides = [min(source[int(i)]["image"].shape[:2]) for i in chosen]
    small = tuple(f"image {i}" for i, side in zip(chosen, sides, strict=True) if side < LEAST_SIDE)
    return {
        "class_counts": {},
        "sides": _three(sides),
        "broken": {},
        "small": small,
        "large": (),
    }


def _of_files(where: str, advance: Callable[[int, int], None]) -> dict[str, Any]:
    """Every file's header and end."""
    root = folders.folder(where.partition(":")[2], f"data.source={where}")
    paths = folders.files_below(root)
    classes: Counter[str] = Counter()
    sides = []
    broken = {}
    small = []
    large = []
    for done, path in enumerate(paths, start=1):
        name = folders.readable(path.relative_to(root))
        classes[_class_of(path.relative_to(root))] += 1
        try:
            size = _size(path)
        except UserError as error:
            broken[name] = str(error.__cause__ or error)
        else:
            if size is None or size[0] * size[1] > MOST_PIXELS:
                large.append(name)
            elif min(size) < LEAST_SIDE:
                small.append(name)
            if size is not None:
                sides.append(min(size))
        if done % 200 == 0 or done == len(paths):
            advance(done, len(paths))
    return {
        "class_counts": dict(classes),
        "sides": _three(sides or [0]),
        "broken": broken,
        "small": tuple(small),
        "large": tuple(large),
    }


def _class_of(path: Path) -> str:
    """The name of an image's class, by its path below the set's folder."""
    parts = path.parts
    first = 1 if len(parts) > 2 and folders.is_split(parts[0]) else 0
    return folders.readable(parts[first]) if len(parts) > first + 1 else ""


def _size(path: Path) -> tuple[int, int] | None:
    """Height and width; None where Pillow refuses to open an image so large.

    An image whose last bytes aren't those of its format is decoded: it may have been cut off.

    Raises:
        UserError: for one that can't be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with open(path, "rb") as file, Image.open(file) as picture:
                size = pixels.upright_size(picture)
                end = _ENDS.get(picture.format or "")
                file.seek(0, 2)
                file.seek(max(file.tell() - _TAIL, 0))
                whole = end is None or end in file.read()
        except Image.DecompressionBombError:
            return None
        except pixels.UNREADABLE as error:
            raise UserError(f"{path} can't be read as an image.") from error
    if not whole and size[0] * size[1] <= MOST_PIXELS:
        pixels.read_image(path)
    return size


def _three(sides: list[int]) -> tuple[int, int, int]:
    return min(sides), int(np.median(sides)), max(sides)
