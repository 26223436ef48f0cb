"""Pairs of an image and a map of its pixels' classes: the embedded digits with their masks,
folders, npz archives, TensorFlow Datasets.

An element is {"image": uint8 (height, width, 3), "label": uint8 (height, width)}. A label is the
number of a class, or `IGNORED`. Folders are looked through before anything is trained. A missing
label, sizes that differ, and a value that is no class are named.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax.data import archives, digits, folders, identity, pixels
from vintk_jax.data.label_maps import IGNORED, Labels, examine, ranges, read_map
from vintk_jax.data.sources import Source, open_source
from vintk_jax.errors import UserError, nearest

__all__ = ["IGNORED", "Labels", "open_pairs"]

# features: an image and its map
_TFDS = (
    ("image", "annotation"),
    ("image", "segmentation_mask"),
    ("image_left", "segmentation_label"),
)
# Where a split's images and maps are, below a folder: CamVid's, ADE20K's and Cityscapes' among
# them.
_LAYOUTS = tuple(
    [("{split}", "{split}annot")]
    + [("images/{split}", f"{labels}/{{split}}") for labels in ("annotations", "labels", "masks")]
    + [("{split}/images", f"{{split}}/{labels}") for labels in ("annotations", "labels", "masks")]
)
_SHOWN = 5  # broken pairs that an error names


def _laid_out(root: Path, split: str) -> tuple[Path, Path] | None:
    """The folders of a split's pictures and of its maps. They have the split's name, or one that
    people usually give it, in any case.
    """
    for name in dict.fromkeys((split, *folders.usual_names(split))):
        for layout in _LAYOUTS:
            pictures, maps = (folders.below(root, part.format(split=name)) for part in layout)
            if pictures is not None and maps is not None:
                return pictures, maps
    return None


def _folder(labels: Labels, where: str, split: str) -> Source:
    """ROOT/SPLIT and ROOT/SPLITannot, ROOT/images/SPLIT and ROOT/annotations/SPLIT, or
    ROOT/SPLIT/images and ROOT/SPLIT/labels.
    """
    root = folders.folder(where, f"data.source=pairs:{where}")
    layout = _laid_out(root, split)
    if layout is None:
        raise _no_folders(root, split)
    top, maps = layout
    pairs = [
        (path, (maps / path.relative_to(top)).with_suffix(".png"))
        for path in folders.files_below(top)
    ]
    if not pairs:
        raise UserError(f"{top} holds no images with a known ending ({folders.ENDINGS}).")
    labels = _check_pairs(pairs, labels, split)
    table = labels.table()

    def get(i: int) -> dict[str, Any]:
        image, label = pairs[i]
        return {"image": pixels.read_image(image), "label": table[read_map(label)]}

    source_identity = identity.of_files([path for pair in pairs for path in pair], labels)
    return Source(len(pairs), get, labels.classes, identity=source_identity)


def _no_folders(root: Path, split: str) -> UserError:
    """What to say of a folder that has no pictures and maps of a split."""
    for child in folders.folders_in(root):
        if _laid_out(child, split) is not None:
            return UserError(
                f"{root} has no pictures and maps of the split {split!r}, but its folder "
                f"{folders.readable(child.name)} has. Name that: {folders.readable(child)}."
            )
    there = ", ".join(sorted(child.name for child in root.iterdir() if child.is_dir())[:8])
    examples = [
        f"{pictures.format(split=split)} with {maps.format(split=split)}"
        for pictures, maps in _LAYOUTS[:2]
    ]
    return UserError(
        f"Expected images and labels of the split {split!r} in {root}, for example "
        f"{', '.join(examples)}, got {there or 'no folders'}."
    )


def _check_pairs(pairs: list[tuple[Path, Path]], labels: Labels, split: str) -> Labels:
    """Look through all pairs. Returns the labels; where no values were given, with those of the
    maps.

    Raises:
        UserError: naming pairs that are broken, and values that are no class.
    """
    with ThreadPoolExecutor() as pool:
        examined = list(pool.map(examine, pairs))
    labels = labels.with_values_of(np.concatenate([values for values, _ in examined]))
    wrong = [fault for _, fault in examined if fault]
    for (_, label), (values, _) in zip(pairs, examined, strict=True):
        unknown = labels.unknown(values)
        if unknown:
            wrong.append(f"{label} holds {', '.join(map(str, unknown[:8]))}")
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise UserError(
            f"{len(wrong)} of the {len(pairs):,} pairs of {split} are broken: "
            f"{'; '.join(wrong[:_SHOWN])}{more}. Mend or remove them. Classes are "
            f"{ranges(labels.values)}, ignored is {ranges(labels.ignore)} (segmentation.labels, "
            "segmentation.ignore)."
        )
    return labels


def _digits(labels: Labels, _: str, split: str) -> Source:
    """See `data.digits`: what lies behind the digit, and the ten digits."""
    if split not in digits.COUNTS:
        raise UserError(
            f"Expected a split of the digits ({', '.join(digits.COUNTS)}), got {split!r}."
            f"{nearest(split, digits.COUNTS)}"
        )
    made = digits.Digits(split, dense=True)
    classes = ("background", *map(str, range(digits.NUM_CLASSES)))
    source_identity = identity.of_words("digits", "dense", split)
    return Source(len(made), made.__getitem__, classes, identity=source_identity, ahead=made.start)


def _npz(labels: Labels, where: str, split: str) -> Source:
    """Arrays x_SPLIT (n, height, width, 3) and y_SPLIT (n, height, width), both uint8."""
    with archives.npz(where, f"data.source=npz:{where}") as (path, arrays):
        missing = [name for name in (f"x_{split}", f"y_{split}") if name not in arrays.files]
        if missing:
            raise UserError(
                f"Expected {' and '.join(missing)} in {path}, got "
                f"{', '.join(arrays.files) or 'nothing'}."
            )
        made = archives.images_of(arrays[f"x_{split}"], f"{path}[x_{split}]")
        maps = arrays[f"y_{split}"]
    if maps.dtype != np.uint8 or maps.shape != made.shape[:3]:
        raise UserError(
            f"Expected images of {split} in {path} of uint8 (n, height, width, 3) and labels of "
            f"uint8 (n, height, width), got {made.dtype}{made.shape} and {maps.dtype}{maps.shape}."
        )
    values = np.unique(maps).astype(int)
    labels = labels.with_values_of(values)
    unknown = labels.unknown(values)
    if unknown:
        first = int(np.argmax((maps == unknown[0]).any(axis=(1, 2))))
        raise UserError(
            f"{path}[y_{split}] holds {unknown[0]} (first in number {first}); classes are "
            f"{ranges(labels.values)} (segmentation.labels)."
        )
    table = labels.table()

    def get(i: int) -> dict[str, Any]:
        return {"image": pixels.as_rgb(made[i]), "label": table[maps[i]]}

    source_identity = identity.of_words(identity.of_arrays(made, maps), labels)
    return Source(len(made), get, labels.classes, identity=source_identity)


def _tfds(labels: Labels, where: str, split: str) -> Source:
    """A TensorFlow Datasets set with an image and a map of labels (scene_parse150, cityscapes,
    oxford_iiit_pet).
    """
    loaded, features = archives.tfds_split(where, split, f"data.source=tfds:{where}", ())
    names = next((pair for pair in _TFDS if set(pair) <= set(features)), None)
    if names is None:
        wanted = " or ".join(" with ".join(pair) for pair in _TFDS)
        raise UserError(
            f"Expected data.source=tfds:{where} to have the features {wanted}, got "
            f"{', '.join(features)}."
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
        unknown = labels.unknown(np.unique(values).astype(int))
        if unknown:
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

    source_identity = identity.of_words(
        where, archives.tfds_version(loaded), split, len(loaded), labels
    )
    return Source(len(loaded), get, labels.classes, identity=source_identity)


def open_pairs(where: str, split: str, labels: Labels) -> Source:
    """A source of images with maps of labels.

    Args:
        where: "digits" (embedded), "pairs:PATH" (a folder), "npz:PATH" or "tfds:NAME".
        split: as `sources.open_source` takes it.

    Raises:
        UserError: for what isn't there, can't be read, or doesn't fit together.
    """
    kinds = {"digits": _digits, "pairs": _folder, "npz": _npz, "tfds": _tfds}
    with_labels = {kind: partial(opener, labels) for kind, opener in kinds.items()}
    return open_source(where, split, with_labels)
