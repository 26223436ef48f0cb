"""Predicting with a segmenter: a map of classes for every picture, as a PNG whose values are those
of the training's maps.
"""

import collections
import io
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import ml_collections
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console

from vintk_jax.command_line import Invocation
from vintk_jax.data import identity, walk
from vintk_jax.data.dense import WholePair
from vintk_jax.data.loader import in_order
from vintk_jax.data.sources import Source, open_source
from vintk_jax.errors import UserError
from vintk_jax.files import drop_torn_line, write_atomically
from vintk_jax.report.progress import COMPILING, Progress
from vintk_jax.report.segment_pictures import colours
from vintk_jax.tasks.loading import load_trained
from vintk_jax.tasks.segmentation import predict_of, size_of
from vintk_jax.workdir.checkpoints import checksum
from vintk_jax.workdir.claims import read_claimed

MAPS = "maps"  # a folder in the workdir


def write_map(
    path: Path, classes: UInt8[np.ndarray, "height width"], values: tuple[int, ...]
) -> None:
    """A PNG with a palette: its values are `values` of the classes, its colours those of
    predictions.png.
    """
    table = np.zeros(256, np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    table[: len(values)] = values
    palette[list(values)] = colours(len(values))
    image = Image.fromarray(table[classes], "P")
    image.putpalette(palette.reshape(-1).tolist())
    stream = io.BytesIO()
    image.save(stream, format="png")
    write_atomically(path, stream.getvalue())


def _source(
    config: ml_collections.ConfigDict, trained: ml_collections.ConfigDict
) -> tuple[Source, Path, list[Path]]:
    """The pictures, the folder that they are below, and their paths below it, in the source's
    order: a name that can be printed need not be a path.
    """
    where = config.data.source
    if not where.startswith("images:"):
        raise UserError(
            f"A segmenter predicts on a folder of images. Expected data.source=images:FOLDER, got "
            f"{where!r}. (Training has measured it on {trained.data.test_split} already.)"
        )
    source = open_source(where, "")
    folder = walk.folder(where.removeprefix("images:"), f"data.source={where}")
    paths = walk.files_below(folder)
    if identity.of_files(paths) != source.identity:
        raise UserError(
            f"The pictures below {walk.readable(folder)} changed as they were listed. Run it again."
        )
    return source, folder, [path.relative_to(folder) for path in paths]


def names_of_maps(pictures: Sequence[Path]) -> list[Path]:
    """Of the map of each picture: with the ending .png in the place of the picture's, or behind it
    where two pictures would have one map.
    """
    own = [picture.with_suffix(".png") for picture in pictures]
    while True:
        count = collections.Counter(own)
        whole = [picture.with_name(f"{picture.name}.png") for picture in pictures]
        # A picture a.jpg.png is one, too: renaming a.jpg's map may take the name of its.
        after = [w if count[o] > 1 else o for o, w in zip(own, whole, strict=True)]
        if after == own:
            return own
        own = after


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
    training = read_claimed(workdir, "train")
    source, folder, pictures = _source(config, training)
    spec, params, classes = load_trained(
        workdir, training, config.checkpoint, lambda note: console.print(note, style="yellow")
    )
    values = tuple(training.segmentation.labels) or tuple(range(len(classes)))
    size = size_of(training)
    console.print(
        f"{len(source):,} pictures, {len(classes)} classes, batches of {config.data.batch_size}, "
        f"into {workdir / MAPS}"
    )
    maps = names_of_maps(pictures)
    whole = [
        (picture, name)
        for picture, name in zip(pictures, maps, strict=True)
        if name != picture.with_suffix(".png")
    ]
    if whole:
        picture, name = map(walk.readable, whole[0])
        console.print(
            f"{len(whole):,} picture(s) share their name but for the ending: their maps keep the "
            f"whole name ({picture}: {name}).",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    logits_of = predict_of(training)(spec.model, None)

    @jax.jit
    def predict(params, images):
        return logits_of(params, images).argmax(-1).astype("uint8")

    weights = identity.of_words(checksum(params), values, size)
    made = Made(workdir / MAPS)
    wrong: list[str] = []
    again = 0
    with Progress(len(source), unit="pictures", console=console) as progress:
        progress.phase(COMPILING)
        waiting: list[dict] = []
        for i, element in enumerate(
            in_order(source, _Sized(WholePair(*size)), 0, config.data.threads), start=1
        ):
            if "error" in element:
                wrong.append(element["error"])
            else:
                element["picture"] = pictures[i - 1]
                element["map"] = maps[i - 1]
                element["of"] = identity.of_words(
                    identity.of_files([folder / element["picture"]]), weights
                )
                if made.of(element["picture"], element["map"]) != element["of"]:
                    again += made.path(element["map"]).exists()
                    waiting.append(element)
            if waiting and (len(waiting) == config.data.batch_size or i == len(source)):
                _write(made, waiting, predict, params, values, config.data.batch_size)
                waiting = []
                progress.phase("predicting")
            progress.update(i)
        if waiting:
            _write(made, waiting, predict, params, values, config.data.batch_size)
    if again:
        console.print(
            f"{again:,} map(s) that were there were of other pictures or weights, or it wasn't "
            "known of which; they were made again.",
            style="yellow",
            soft_wrap=True,
        )
    for fault in wrong:
        console.print(fault, style="yellow", soft_wrap=True)
    console.print(
        f"{len(source) - len(wrong):,} maps in {workdir / MAPS}; {len(wrong)} picture(s) could not "
        "be read.",
        soft_wrap=True,
    )


class Made:
    """The maps in a folder, and what each was made of, kept in a file beside them.

    Args:
        folder: of the maps.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._file = folder / ".made.jsonl"
        drop_torn_line(self._file)
        lines = self._file.read_text().splitlines() if self._file.exists() else []
        # By the map, since it holds what was written to it last, of whichever picture.
        self._last: dict[str, dict[str, str]] = {}
        self._remember([json.loads(line) for line in lines])

    def path(self, name: Path) -> Path:
        """Of a map by its name."""
        return self._folder / name

    def of(self, picture: Path, name: Path) -> str | None:
        """What the map of a picture was made of; None where there is no map, or that isn't known,
        or it is another picture's.

        Args:
            name: of the map.
        """
        last = self._last.get(str(name))
        if last is None or last["name"] != str(picture) or not self.path(name).exists():
            return None
        return last["of"]

    def add(self, elements: list[dict]) -> None:
        """Maps that have just been written."""
        lines = [
            {
                "name": str(element["picture"]),
                "map": str(element["map"]),
                "of": element["of"],
            }
            for element in elements
        ]
        self._remember(lines)
        with open(self._file, "a") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))

    def _remember(self, lines: list[dict[str, str]]) -> None:
        for line in lines:
            # Lines from before maps could have the picture's whole name don't say which it is.
            name = line.get("map") or str(Path(line["name"]).with_suffix(".png"))
            self._last[name] = line


class _Sized:
    """A picture on the canvas, and what size it has by itself."""

    def __init__(self, look: WholePair):
        self._look = look

    def __call__(self, element: dict, rng: np.random.Generator) -> dict:
        height, width = element["image"].shape[:2]
        shown = self._look(
            {"image": element["image"], "label": np.zeros((height, width), np.uint8)}, rng
        )
        inside = shown["label"] == 0
        part = (int(inside.any(axis=1).sum()), int(inside.any(axis=0).sum()))
        return {
            "image": shown["image"],
            "size": (height, width),
            "part": part,
        }


def _write(
    made: Made, elements: list[dict], predict, params, values: tuple[int, ...], batch_size: int
) -> None:
    images = np.stack([element["image"] for element in elements])
    filled = np.pad(images, ((0, batch_size - len(images)), (0, 0), (0, 0), (0, 0)))
    for element, classes in zip(elements, np.asarray(predict(params, filled))):
        rows, columns = element["part"]
        height, width = element["size"]
        image = Image.fromarray(classes[:rows, :columns]).resize(
            (width, height), Image.Resampling.NEAREST
        )
        write_map(made.path(element["map"]), np.asarray(image), values)
    made.add(elements)
