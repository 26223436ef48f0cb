"""Predicting with a segmenter: a map of classes for every picture, as a PNG whose values are those
of the training's maps.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np
from PIL import Image
from rich.console import Console

from vintk_jax.command_line import Invocation
from vintk_jax.data import folders, identity
from vintk_jax.data.dense import WholePair
from vintk_jax.data.loader import in_order
from vintk_jax.data.sources import Source, open_source
from vintk_jax.errors import UserError
from vintk_jax.inference.maps import MapsFolder, names_of_maps, write_map
from vintk_jax.report.progress import COMPILING, Progress
from vintk_jax.tasks.loading import load_trained
from vintk_jax.tasks.segmentation import predict_of, size_of
from vintk_jax.workdir.checkpoints import checksum
from vintk_jax.workdir.config_claims import read_claimed

MAPS = "maps"  # a folder in the workdir


@dataclasses.dataclass(frozen=True)
class _Pictures:
    """The pictures of a run.

    Attributes:
        source: opens them, in order.
        folder: that they are below.
        paths: below the folder, in the source's order: a name that can be printed need not be a
            path.
        maps: names of their maps.
    """

    source: Source
    folder: Path
    paths: list[Path]
    maps: list[Path]

    @classmethod
    def of(
        cls, config: ml_collections.ConfigDict, training: ml_collections.ConfigDict
    ) -> "_Pictures":
        """Those that a config names.

        Raises:
            UserError: for another source than a folder, or one that changes.
        """
        where = config.data.source
        if not where.startswith("images:"):
            raise UserError(
                "A segmenter predicts on a folder of images. Expected data.source=images:FOLDER, "
                f"got {where!r}. (Training has measured it on {training.data.test_split} already.)"
            )
        source = open_source(where, "")
        folder = folders.folder(where.removeprefix("images:"), f"data.source={where}")
        paths = folders.files_below(folder)
        if identity.of_files(paths) != source.identity:
            raise UserError(
                f"The pictures below {folders.readable(folder)} changed as they were listed. Run "
                "it again."
            )
        below = [path.relative_to(folder) for path in paths]
        return cls(source, folder, below, names_of_maps(below))

    def described(self, number: int, element: dict, weights: str) -> dict:
        """A picture with its names, and what its map is made of."""
        path = self.paths[number]
        contents = identity.of_files([self.folder / path])
        return element | {
            "picture": path,
            "map": self.maps[number],
            "of": identity.of_words(contents, weights),
        }


def predict_segments(invocation: Invocation, console: Console) -> None:
    """A map for every picture below a folder. A run that was killed goes on with those that have
    none yet, and so does one after pictures were added; a map of another picture's contents, or of
    other weights, is made again.

    Pictures larger than the training's `segmentation.height` x `width` are resized to fit; their
    maps come back in their own size.

    Raises:
        UserError: for whatever in the config doesn't fit.
    """
    config = invocation.config
    workdir = invocation.workdir

    def say(note: str) -> None:
        console.print(note, style="yellow", markup=False, soft_wrap=True)

    training = read_claimed(workdir, "train")
    pictures = _Pictures.of(config, training)
    spec, params, classes, _ = load_trained(workdir, training, config.checkpoint, say)
    console.print(
        f"{len(pictures.source):,} pictures, {len(classes)} classes, batches of "
        f"{config.data.batch_size}, into {workdir / MAPS}"
    )
    _tell_whole_names(pictures, say)
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    values = tuple(training.segmentation.labels) or tuple(range(len(classes)))
    size = size_of(training)
    logits_of = predict_of(training)(spec.model, None)

    @jax.jit
    def predict(params, images):
        return logits_of(params, images).argmax(-1).astype("uint8")

    folder = MapsFolder(workdir / MAPS)
    batches = _Batches(folder, partial(predict, params), values, config.data.batch_size)
    weights = identity.of_words(checksum(params), values, size)
    wrong = []
    with Progress(len(pictures.source), unit="pictures", console=console) as progress:
        progress.phase(COMPILING)
        elements = in_order(pictures.source, _Sized(WholePair(*size)), 0, config.data.threads)
        for number, element in enumerate(elements):
            if "error" in element:
                wrong.append(element["error"])
            elif batches.add(pictures.described(number, element, weights)):
                progress.phase("predicting")
            progress.update(number + 1)
        batches.finish()
    if batches.made_again:
        say(
            f"{batches.made_again:,} map(s) that were there were of other pictures or weights, or "
            "it wasn't known of which; they were made again."
        )
    for fault in wrong:
        say(fault)
    console.print(
        f"{len(pictures.source) - len(wrong):,} maps in {workdir / MAPS}; {len(wrong)} picture(s) "
        "could not be read.",
        soft_wrap=True,
    )


def _tell_whole_names(pictures: _Pictures, say: Callable[[str], None]) -> None:
    """Say which maps keep the whole name of their picture."""
    whole = [
        (path, name)
        for path, name in zip(pictures.paths, pictures.maps, strict=True)
        if name != path.with_suffix(".png")
    ]
    if whole:
        path, name = map(folders.readable, whole[0])
        say(
            f"{len(whole):,} picture(s) share their name but for the ending: their maps keep the "
            f"whole name ({path}: {name})."
        )


class _Batches:
    """Pictures without a map wait for a batch, which is predicted and written.

    Attributes:
        made_again: how many maps that were there are of other pictures or weights.
    """

    def __init__(
        self,
        folder: MapsFolder,
        predict: Callable[[Any], Any],
        values: tuple[int, ...],
        batch_size: int,
    ):
        self._folder = folder
        self._predict = predict
        self._values = values
        self._batch_size = batch_size
        self._waiting: list[dict] = []
        self.made_again = 0

    def add(self, element: dict) -> bool:
        """Take a picture, unless its map is there. True when a batch was predicted."""
        if self._folder.made_of(element["picture"], element["map"]) == element["of"]:
            return False
        self.made_again += self._folder.path(element["map"]).exists()
        self._waiting.append(element)
        if len(self._waiting) < self._batch_size:
            return False
        self.finish()
        return True

    def finish(self) -> None:
        """Predict what waits."""
        if not self._waiting:
            return
        images = np.stack([element["image"] for element in self._waiting])
        missing = self._batch_size - len(images)
        filled = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
        for element, classes in zip(self._waiting, np.asarray(self._predict(filled))):
            rows, columns = element["part"]
            height, width = element["size"]
            image = Image.fromarray(classes[:rows, :columns]).resize(
                (width, height), Image.Resampling.NEAREST
            )
            write_map(self._folder.path(element["map"]), np.asarray(image), self._values)
        self._folder.add(self._waiting)
        self._waiting = []


class _Sized:
    """A picture on the canvas, and what size it has by itself."""

    def __init__(self, transform: WholePair):
        self._transform = transform

    def __call__(self, element: dict, rng: np.random.Generator) -> dict:
        height, width = element["image"].shape[:2]
        on_canvas = self._transform(
            {"image": element["image"], "label": np.zeros((height, width), np.uint8)}, rng
        )
        inside = on_canvas["label"] == 0
        part = (int(inside.any(axis=1).sum()), int(inside.any(axis=0).sum()))
        return {
            "image": on_canvas["image"],
            "size": (height, width),
            "part": part,
        }
