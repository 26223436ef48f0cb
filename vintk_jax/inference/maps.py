"""Maps of classes as files: a PNG for each picture, and what each was made of."""

import collections
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from vintk_jax.files import drop_torn_line, write_atomically
from vintk_jax.report.segment_pictures import colours


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


def names_of_maps(pictures: Sequence[Path]) -> list[Path]:
    """Of the map of each picture: with the ending .png in the place of the picture's, or behind it
    where two pictures would have one map.
    """
    maps = [picture.with_suffix(".png") for picture in pictures]
    whole_names = [picture.with_name(f"{picture.name}.png") for picture in pictures]
    while True:
        count = collections.Counter(maps)
        # A picture a.jpg.png is one, too: renaming a.jpg's map may take the name of its.
        after = [
            whole if count[name] > 1 else name
            for name, whole in zip(maps, whole_names, strict=True)
        ]
        if after == maps:
            return maps
        maps = after


class MapsFolder:
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

    def made_of(self, picture: Path, name: Path) -> str | None:
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
