"""Pairs of an image and a map of its pixels' classes: the embedded digits with their masks,
folders, npz archives, TensorFlow Datasets.

An element is {"image": uint8 (height, width, 3), "label": uint8 (height, width)}; a label is the
number of a class, or `IGNORED`. Folders are looked through before anything is trained: a missing
label, sizes that differ, and a value that is no class are named.
"""

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image, ImageOps

from vintk_jax.data import digits, identity, images, pixels, walk
from vintk_jax.data.sources import Source, open_source
from vintk_jax.errors import UserError, nearest

IGNORED = 255  # in a map of labels: a pixel that has no class
# features: an image and its map
_TFDS = (
    ("image", "annotation"),
    ("image", "segmentation_mask"),
    ("image_left", "segmentation_label"),
)
# Where a split's images and maps are, below a folder: CamVid's, ADE20K's and Cityscapes' ways among
# them.
_LAYOUTS = tuple(
    [("{split}", "{split}annot")]
    + [("images/{split}", f"{labels}/{{split}}") for labels in ("annotations", "labels", "masks")]
    + [("{split}/images", f"{{split}}/{labels}") for labels in ("annotations", "labels", "masks")]
)
_SHOWN = 5  # broken pairs that an error names


@dataclasses.dataclass(frozen=True)
class Labels:
    """What the values in maps mean.

    Attributes:
        values: the value of each class, in the classes' order, each once; empty: 0, 1, 2, ... up to
            the largest that there is.
        ignore: values of pixels that have no class.
        names: of the classes; empty: their values.

    Raises:
        UserError: for values that no map of bytes holds, one that is there twice or is ignored as
            well, and names of another number.
    """

    values: tuple[int, ...] = ()
    ignore: tuple[int, ...] = (IGNORED,)
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.names and self.values and len(self.names) != len(self.values):
            raise UserError(
                f"segmentation.names has {len(self.names)} names, segmentation.labels "
                f"{len(self.values)} values; as many were wanted."
            )
        for value in self.values:
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not whole or not 0 <= value <= 255 or self.values.count(value) > 1:
                fault = "twice" if self.values.count(value) > 1 else "as a class"
                raise UserError(
                    "Expected segmentation.labels to be whole numbers from 0 to 255, all "
                    f"different, got {value!r} {fault}. Name the value of each class once."
                )
        if len(self.values) > IGNORED or set(self.values) & set(self.ignore):
            raise UserError(
                "segmentation.labels wants fewer than 255 values, none of which is ignored as well."
            )

    def with_values_of(self, largest: int) -> "Labels":
        """These, with the values up to the largest where none were given."""
        if self.values:
            return self
        count = len(self.names) or largest + 1
        return dataclasses.replace(
            self, values=tuple(v for v in range(count) if v not in self.ignore)
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.names or tuple(map(str, self.values))

    def table(self) -> UInt8[np.ndarray, " 256"]:
        """The class of each value of a byte; `IGNORED` for those that are ignored or mean
        nothing.
        """
        table = np.full(256, IGNORED, np.uint8)
        table[list(self.values)] = np.arange(len(self.values))
        return table

    def unknown(self, values: Integer[np.ndarray, " n"]) -> list[int]:
        """Those among some values that are neither classes nor ignored."""
        return sorted(set(values.tolist()) - set(self.values) - set(self.ignore))


def _read_map(path: Path) -> UInt8[np.ndarray, "height width"]:
    """The values of a map of labels; a picture in palette colours gives the palette's numbers.

    Raises:
        UserError: when it can't be read, has several channels, or values that aren't whole or not
            from 0 to 255.
    """
    try:
        with Image.open(path) as image:
            values = np.asarray(ImageOps.exif_transpose(image))
    except pixels.UNREADABLE as error:
        raise UserError(f"{path} can't be read as an image ({error}).") from error
    if values.ndim != 2:
        raise UserError(
            f"{path} holds {values.dtype}{values.shape}; a map of labels, one value from 0 to 255 "
            "a pixel, was wanted."
        )
    _check_bytes(values, str(path))
    return values.astype(np.uint8)


def _check_bytes(values: np.ndarray, what: str) -> None:
    """Refuse values of a map that a byte can't hold; bytes would wrap around or be cut off."""
    fits = (values >= 0) & (values <= 255)  # not NaN either
    if np.issubdtype(values.dtype, np.floating):
        fits &= values == np.floor(values)
    if not fits.all():
        wrong = values[~fits][0].item()
        raise UserError(
            f"Expected {what} to hold whole values from 0 to 255, one a pixel, got {wrong:g} "
            f"({values.dtype}). Save the map as 8-bit gray or palette."
        )


def _look_at(pair: tuple[Path, Path]) -> tuple[Integer[np.ndarray, " n"], str]:
    """The values that a pair's map holds, and what is wrong with the pair."""
    image, label = pair
    if not label.is_file():
        return np.zeros(0, int), f"{image} has no label {label}"
    try:
        values = _read_map(label)
        with Image.open(image) as opened:
            size = pixels.upright_size(opened)
    except UserError as error:
        return np.zeros(0, int), str(error)
    except pixels.UNREADABLE as error:
        return np.zeros(0, int), f"{image} can't be read as an image ({error})"
    if size != values.shape:
        return (
            np.zeros(0, int),
            f"{image} is {size[1]} x {size[0]} pixels, its label {label} {values.shape[1]} x "
            f"{values.shape[0]}",
        )
    return np.unique(values).astype(int), ""


def _laid_out(root: Path, split: str) -> tuple[Path, Path] | None:
    """The folders of a split's pictures and of its maps: of its name, or of one that people usually
    give it, in any case.
    """
    for name in dict.fromkeys((split, *walk.usual_names(split))):
        for layout in _LAYOUTS:
            pictures, maps = (walk.below(root, part.format(split=name)) for part in layout)
            if pictures is not None and maps is not None:
                return pictures, maps
    return None


def _folder(labels: Labels, where: str, split: str) -> Source:
    """ROOT/SPLIT and ROOT/SPLITannot, ROOT/images/SPLIT and ROOT/annotations/SPLIT, or
    ROOT/SPLIT/images and ROOT/SPLIT/labels.
    """
    root = walk.folder(where, f"data.source=pairs:{where}")
    found = _laid_out(root, split)
    if found is None:
        for child in walk.folders_in(root):
            if _laid_out(child, split) is not None:
                raise UserError(
                    f"{root} has no pictures and maps of the split {split!r}, but its folder "
                    f"{walk.readable(child.name)} has. Name that: {walk.readable(child)}."
                )
        layouts = [tuple(root / part.format(split=split) for part in one) for one in _LAYOUTS]
        there = ", ".join(sorted(child.name for child in root.iterdir() if child.is_dir())[:8])
        tried = ", ".join(
            f"{a.relative_to(root)} with {b.relative_to(root)}" for a, b in layouts[:2]
        )
        raise UserError(
            f"{root} holds {there or 'no folders'}; images and labels of the split {split!r} were "
            f"wanted, for example {tried}."
        )
    top, maps = found
    pairs = [
        (path, (maps / path.relative_to(top)).with_suffix(".png")) for path in walk.files_below(top)
    ]
    if not pairs:
        raise UserError(f"{top} holds no images with a known ending ({walk.ENDINGS}).")
    with ThreadPoolExecutor() as pool:
        looked = list(pool.map(_look_at, pairs))
    labels = labels.with_values_of(
        max((int(v) for values, _ in looked for v in values if v not in labels.ignore), default=0)
    )
    wrong = [fault for _, fault in looked if fault]
    for (_, label), (values, _) in zip(pairs, looked, strict=True):
        if unknown := labels.unknown(values):
            wrong.append(f"{label} holds {', '.join(map(str, unknown[:8]))}")
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise UserError(
            f"{len(wrong)} of the {len(pairs):,} pairs of {split} are broken: "
            f"{'; '.join(wrong[:_SHOWN])}{more}. Mend or remove them. Classes are "
            f"{_ranges(labels.values)}, ignored is {_ranges(labels.ignore)} (segmentation.labels, "
            "segmentation.ignore)."
        )
    table = labels.table()

    def get(i):
        return {
            "image": pixels.read_image(pairs[i][0]),
            "label": table[_read_map(pairs[i][1])],
        }

    own = identity.of_files([path for pair in pairs for path in pair], labels)
    return Source(len(pairs), get, labels.classes, identity=own)


def _ranges(values: Sequence[int]) -> str:
    """0 to 10, or the values one by one."""
    several = len(values) > 2 and list(values) == list(range(values[0], values[-1] + 1))
    return f"{values[0]} to {values[-1]}" if several else ", ".join(map(str, values)) or "nothing"


def _digits(labels: Labels, _: str, split: str) -> Source:
    """See `data.digits`: what lies behind the digit, and the ten digits."""
    if split not in digits.COUNTS:
        raise UserError(
            f"A split {split!r} came; the digits have "
            f"{', '.join(digits.COUNTS)}.{nearest(split, digits.COUNTS)}"
        )
    made = digits.Digits(split, dense=True)
    classes = ("background", *map(str, range(digits.NUM_CLASSES)))
    own = identity.of_words("digits", "dense", split)
    return Source(len(made), made.__getitem__, classes, identity=own, ahead=made.ahead)


def _npz(labels: Labels, where: str, split: str) -> Source:
    """Arrays x_SPLIT (n, height, width, 3) and y_SPLIT (n, height, width), both uint8."""
    with images.npz(where, f"data.source=npz:{where}") as (path, arrays):
        missing = [name for name in (f"x_{split}", f"y_{split}") if name not in arrays.files]
        if missing:
            raise UserError(
                f"{path} holds {', '.join(arrays.files) or 'nothing'}; {' and '.join(missing)} was "
                "wanted as well."
            )
        made = images.images_of(arrays[f"x_{split}"], f"{path}[x_{split}]")
        maps = arrays[f"y_{split}"]
    if maps.dtype != np.uint8 or maps.shape != made.shape[:3]:
        raise UserError(
            f"{path} holds {made.dtype}{made.shape} images and {maps.dtype}{maps.shape} labels "
            f"of {split}; uint8 (n, height, width, 3) and uint8 "
            "(n, height, width) were wanted."
        )
    values = np.unique(maps).astype(int)
    labels = labels.with_values_of(
        max((int(v) for v in values if v not in labels.ignore), default=0)
    )
    if unknown := labels.unknown(values):
        first = int(np.argmax((maps == unknown[0]).any(axis=(1, 2))))
        raise UserError(
            f"{path}[y_{split}] holds {unknown[0]} (first in number {first}); classes are "
            f"{_ranges(labels.values)} (segmentation.labels)."
        )
    table = labels.table()
    return Source(
        len(made),
        lambda i: {"image": pixels.as_rgb(made[i]), "label": table[maps[i]]},
        labels.classes,
        identity=identity.of_words(identity.of_arrays(made, maps), labels),
    )


def _tfds(labels: Labels, where: str, split: str) -> Source:
    """A TensorFlow Datasets set with an image and a map of labels (scene_parse150, cityscapes,
    oxford_iiit_pet).
    """
    loaded, features = images.tfds_split(where, split, f"data.source=tfds:{where}", ())
    names = next((pair for pair in _TFDS if set(pair) <= set(features)), None)
    if names is None:
        wanted = " or ".join(" with ".join(pair) for pair in _TFDS)
        raise UserError(
            f"data.source=tfds:{where} has the features {', '.join(features)}; {wanted} was wanted."
        )
    if not labels.values:
        raise UserError(
            f"data.source=tfds:{where} doesn't say which values are classes; name them: "
            "--config.segmentation.labels='(1, 2, 3)'."
        )
    table = labels.table()

    def get(index: int) -> dict[str, Any]:
        element = loaded[index]
        values = np.asarray(element[names[1]])
        values = values[..., 0] if values.ndim == 3 else values
        if unknown := labels.unknown(np.unique(values).astype(int)):
            raise UserError(
                f"Number {index} of {where}'s {split} holds the label {unknown[0]}, which is "
                "neither a class nor ignored."
            )
        image = pixels.as_rgb(np.asarray(element[names[0]]))
        if image.shape[:2] != values.shape:
            raise UserError(
                f"Number {index} of {where}'s {split}: a picture of {image.shape[:2]} pixels, its "
                f"map of {values.shape}."
            )
        return {"image": image, "label": table[values]}

    own = identity.of_words(where, images.tfds_version(loaded), split, len(loaded), labels)
    return Source(len(loaded), get, labels.classes, identity=own)


def open_pairs(where: str, split: str, labels: Labels) -> Source:
    """A source of images with maps of labels.

    Args:
        where: "digits" (embedded), "pairs:PATH" (a folder), "npz:PATH" or "tfds:NAME".
        split: as `sources.open_source` takes it.

    Raises:
        UserError: for what isn't there, can't be read, or doesn't fit together.
    """
    kinds = {"digits": _digits, "pairs": _folder, "npz": _npz, "tfds": _tfds}
    return open_source(
        where, split, {kind: partial(opener, labels) for kind, opener in kinds.items()}
    )
