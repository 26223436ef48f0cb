"""Labelled images by number, from the embedded set, tfds, a folder of class folders, or an npz.

A source is a sequence: `len(source)` images, `source[i]` -> {"image": uint8 (height, width, 3),
"label": int}. Random access is what lets a run go on at any step, and any number of hosts share it
(`data.loader`).
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Int

from vintk_jax.data import archives, digits, folders, identity, pixels
from vintk_jax.data.splits import bounds, same_split
from vintk_jax.errors import UserError, nearest

_HELD_OUT = 10  # of a folder without splits, one image in so many is for testing


class Source(Sequence):
    """Images by number, the names of their classes, and notes on how they were read.

    A label is a class, or a map of the pixels' classes (`data.pairs`). In the place of images there
    may be clips (`data.clips`), with the number of frames of each where that is known without
    reading them. `identity` is another text when any image or label is another (see
    `data.identity`). Results that are kept between runs are kept by it.
    """

    def __init__(
        self,
        length: int,
        get: Callable[[int], dict[str, Any]],
        classes: Sequence[str],
        notes: Sequence[str] = (),
        frames: Sequence[int] = (),
        identity: str = "",
        ahead: Callable[[], None] | None = None,
    ):
        self._length = length
        self._get = get
        self._ahead = ahead
        self.classes = tuple(archives.distinct(classes))
        self.notes = tuple(notes)
        self.frames = tuple(frames)
        self.identity = identity

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._get(int(index))

    def ahead(self) -> None:
        """Begin to make what has to be made and will all be asked for, beside what else happens."""
        if self._ahead is not None:
            self._ahead()

    def part(self, numbers: Int[np.ndarray, " n"]) -> "Source":
        """The images of those numbers, numbered from zero."""
        frames = [self.frames[i] for i in numbers] if self.frames else ()
        part_identity = identity.of_words(self.identity, identity.of_arrays(np.asarray(numbers)))

        def get(index: int) -> dict[str, Any]:
            return self._get(int(numbers[index]))

        return Source(len(numbers), get, self.classes, self.notes, frames, part_identity)


def _digits(where: str, split: str) -> Source:
    """See `data.digits`."""
    if where:
        raise UserError(f"Expected data.source=digits alone, got digits:{where}.")
    if split not in digits.COUNTS:
        raise UserError(
            f"Expected a split of the digits ({', '.join(digits.COUNTS)}), got {split!r}."
            f"{nearest(split, digits.COUNTS)}"
        )
    made = digits.Digits(split)
    classes = [str(i) for i in range(digits.NUM_CLASSES)]
    source_identity = identity.of_words("digits", split)
    return Source(len(made), made.__getitem__, classes, identity=source_identity, ahead=made.start)


def _npz(where: str, split: str) -> Source:
    """Arrays x_SPLIT (n, height, width, 3) or (n, height, width), uint8, and y_SPLIT (n,),
    integers. There may be class_names.
    """
    with archives.npz(where, f"data.source=npz:{where}") as (path, arrays):
        missing = [name for name in (f"x_{split}", f"y_{split}") if name not in arrays.files]
        if missing:
            raise UserError(
                f"Expected {' and '.join(missing)} in {path}, got "
                f"{', '.join(arrays.files) or 'nothing'}."
            )
        made = archives.images_of(arrays[f"x_{split}"], f"{path}[x_{split}]")
        labels, names = archives.labels_of(arrays, path, split, len(made))

    def get(index: int) -> dict[str, Any]:
        return {"image": pixels.as_rgb(made[index]), "label": int(labels[index])}

    source_identity = identity.of_words(identity.of_arrays(made, labels), names)
    return Source(len(made), get, names, identity=source_identity)


def _folder(where: str, split: str) -> Source:
    """PATH/SPLIT/CLASS/image, or PATH/CLASS/image, of which one image in ten (by a hash of its
    path) is the split "test".
    """
    root = folders.folder(where, f"data.source=folder:{where}")
    of_split = folders.split_folder(root, split)
    top = of_split or root
    classes, empty = folders.classes_of(root, top)
    folders.check_level(top, classes)
    paths = [
        (path, label)
        for label, name in enumerate(classes)
        for path in folders.files_below(top / name)
    ]
    ordered = sorted(
        (hashlib.sha256(os.fsencode(p.relative_to(top))).digest(), p, label) for p, label in paths
    )
    if of_split is None:
        if split not in ("train", "test") or any(map(folders.is_split, classes)):
            named = ", ".join(map(folders.readable, classes[:8]))
            raise UserError(
                f"{root} has no folder {split!r}; it holds {named or 'no folders'}. Name one with "
                "data.*_split."
            )
        ordered = [
            entry for entry in ordered if (entry[0][0] % _HELD_OUT == 0) == (split == "test")
        ]
    if not ordered:
        raise UserError(
            f"{top} holds no images with a known ending ({folders.ENDINGS}) in class folders for "
            f"the split {split!r}."
        )
    notes = []
    if empty:
        named = ", ".join(map(folders.readable, empty))
        notes.append(f"{folders.readable(top)}: no class, since no image is in it: {named}.")

    def get(index: int) -> dict[str, Any]:
        _, path, label = ordered[index]
        return {"image": pixels.read_image(path), "label": label}

    of_images = [path for _, path, _ in ordered]
    source_identity = identity.of_files(of_images, [label for _, _, label in ordered], classes)
    return Source(len(ordered), get, classes, notes, identity=source_identity)


def _images(where: str, split: str) -> Source:
    """Images anywhere below a folder, without labels: an element has its "name", the path below the
    folder, and the label -1.
    """
    root = folders.folder(where, f"data.source=images:{where}")
    paths = folders.files_below(root)
    if not paths:
        raise UserError(f"{root} holds no images with a known ending ({folders.ENDINGS}).")

    def get(index: int) -> dict[str, Any]:
        name = folders.readable(paths[index].relative_to(root))
        return {"image": pixels.read_image(paths[index]), "label": -1, "name": name}

    return Source(len(paths), get, (), identity=identity.of_files(paths))


def _tfds(where: str, split: str) -> Source:
    """A TensorFlow Datasets set with features "image" and "label"."""
    loaded, features = archives.tfds_split(
        where, split, f"data.source=tfds:{where}", ("image", "label")
    )

    def get(index: int) -> dict[str, Any]:
        element = loaded[index]
        return {
            "image": pixels.as_rgb(np.asarray(element["image"])),
            "label": int(element["label"]),
        }

    source_identity = identity.of_words(where, archives.tfds_version(loaded), split, len(loaded))
    return Source(len(loaded), get, features["label"].names, identity=source_identity)


Kinds = Mapping[str, Callable[[str, str], Source]]
KINDS: Kinds = {"digits": _digits, "npz": _npz, "folder": _folder, "images": _images, "tfds": _tfds}


def open_source(where: str, split: str, kinds: Kinds = KINDS) -> Source:
    """A source of labelled images.

    Args:
        where: "digits" (embedded), "tfds:NAME", "folder:PATH" or "npz:PATH"; "images:PATH" has no
            labels and no splits.
        kinds: what opens each of these, from what stands behind the colon and the split's name.
        split: a split's name, or a part of it in tfds's notation: "train[:90%]", "train[-1000:]",
            or parts of one split, "train[:40%]+train[60%:]". Parts of an npz are drawn from a fixed
            random order: people save images class by class, and the last classes would be missing.

    Raises:
        UserError: for what isn't there or can't be read.
    """
    source, numbers = _opened(where, split, kinds)
    return source if numbers is None else source.part(numbers)


def in_common(where: str, split: str, other_split: str, kinds: Kinds = KINDS) -> int:
    """How many images two splits of one source share.

    Raises:
        UserError: as `open_source`.
    """
    if not same_split(where, split.partition("[")[0], other_split.partition("[")[0]):
        return 0
    numbers = []
    for each in (split, other_split):
        source, some = _opened(where, each, kinds)
        numbers.append(np.arange(len(source)) if some is None else some)
    return len(np.intersect1d(*numbers))


def folds(where: str, split: str, count: int, kinds: Kinds = KINDS) -> list[tuple[str, str]]:
    """A split in `count` parts of (nearly) one size: for each, its name and the name of all the
    others.

    Raises:
        UserError: as `open_source`; for fewer than two parts, more than images, or a split that has
            several parts itself.
    """
    parts = bounds(where, split, len(_whole(where, split, kinds)))
    name = split.partition("[")[0]
    start, stop = parts[0]
    if len(parts) > 1 or not 2 <= count <= stop - start:
        raise UserError(
            "Expected two folds at least, of one whole part with as many images, got "
            f"{count} folds of {split!r} ({stop - start:,} images)."
        )
    ends = np.linspace(start, stop, count + 1).round().astype(int).tolist()

    def part(a, b):
        return [f"{name}[{a}:{b}]"] if a < b else []

    return [
        (f"{name}[{a}:{b}]", "+".join(part(start, a) + part(b, stop))) for a, b in pairwise(ends)
    ]


def _opened(where: str, split: str, kinds: Kinds) -> tuple[Source, Int[np.ndarray, " n"] | None]:
    """The whole split, and the numbers of the images that were asked for, or None for all."""
    source = _whole(where, split, kinds)
    parts = bounds(where, split, len(source))
    if parts == [(0, len(source))]:
        return source, None
    order = np.arange(len(source))
    if where.startswith("npz:"):
        order = np.random.default_rng(0).permutation(len(source))
    return source, np.concatenate([order[start:stop] for start, stop in parts])


def _whole(where: str, split: str, kinds: Kinds) -> Source:
    """All of the split that a split or its parts name."""
    kind, _, path = where.partition(":")
    if kind not in kinds or (kind != "digits" and not path):
        named = {"digits": "digits", "tfds": "tfds:NAME", "images": ""}
        wanted = ", ".join(filter(None, (named.get(known, f"{known}:PATH") for known in kinds)))
        raise UserError(f"Expected data.source to be one of {wanted}, got {where!r}.")
    return kinds[kind](path, split.partition("[")[0])
