"""Running a source of images through plans: predictions to a file as they come, then what they
amount to.
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vintk_jax.data.loader import Transform, in_order
from vintk_jax.data.sources import Source
from vintk_jax.errors import UserError
from vintk_jax.inference.engine import Engine

_LINES = 256  # written at a time


class Predictions:
    """A file of predictions, a line each; a run that was killed goes on behind its last whole line.

    Args:
        path: what the file is called when all lines are there.
        key: of the run: an unfinished file of another is left alone.

    Attributes:
        others: unfinished files of runs with another key.
    """

    def __init__(self, path: Path, key: str):
        self.path = path
        self._partial = path.with_name(f".{path.name}.{key}.partial")
        named_alike = path.parent.glob(f".{path.name}.*.partial")
        self.others = sorted(other for other in named_alike if other != self._partial)
        self._partial.touch()
        with open(self._partial, "rb+") as file:
            self.done = whole = 0
            for line in file:
                if line.endswith(b"\n"):
                    self.done += 1
                    whole += len(line)
            file.truncate(whole)
        self._file = open(self._partial, "a")  # noqa: SIM115 (closed by `close`)

    def add(self, records: list[dict[str, Any]]) -> None:
        """Write lines; they are there after a kill."""
        self._file.write("".join(json.dumps(record) + "\n" for record in records))
        self._file.flush()
        self.done += len(records)

    def finish(self) -> None:
        """Give the file its name."""
        self.close()
        os.replace(self._partial, self.path)

    def close(self) -> None:
        """What is unfinished is kept."""
        self._file.close()


def predict(
    engine: Engine,
    source: Source,
    start: int,
    classes: tuple[str, ...],
    transform: Transform,
    threads: int,
    out: Predictions,
    advance: Callable[[int], None],
) -> float:
    """Write a line for each image from number `start` on; gives back images a second, reading and
    writing counted.

    Args:
        threads: that read images.
        advance: called with the number of lines.
    """
    begun = time.perf_counter()
    records = deque()

    def images() -> Iterator[Any]:
        for i, element in enumerate(in_order(source, transform, start, threads), start=start):
            if "error" in element:
                records.append({"image": i})
                yield UserError(element["error"])
            else:
                label = int(element["label"])
                records.append(
                    {"image": element.get("name", i)} | ({"label": label} if label >= 0 else {})
                )
                yield element["image"]

    waiting: list[dict[str, Any]] = []
    for answer in engine(images()):
        record = records.popleft()
        if answer.error:
            waiting.append(record | {"error": answer.error})
        else:
            best = int(answer.probabilities.argmax())
            found = {
                "tokens": answer.length,
                "class": classes[best],
                "probability": round(float(answer.probabilities[best]), 6),
            }
            waiting.append(record | found)
        if len(waiting) == _LINES:
            out.add(waiting)
            waiting = []
            advance(out.done)
    out.add(waiting)
    advance(out.done)
    return (len(source) - start) / max(time.perf_counter() - begun, 1e-9)


def summarise(path: Path, classes: tuple[str, ...]) -> dict[str, Any]:
    """What a file of predictions amounts to: images, errors, the share of each length, accuracy
    where there are labels (else None).
    """
    images = errors = labelled = right = 0
    mix: dict[str, int] = {}
    with open(path) as file:
        for line in map(json.loads, file):
            images += 1
            if "error" in line:
                errors += 1
                continue
            mix[line["tokens"]] = mix.get(line["tokens"], 0) + 1
            if "label" in line:
                labelled += 1
                right += classes[line["label"]] == line["class"]
    shares = {name: count / max(images - errors, 1) for name, count in mix.items()}
    return {
        "images": images,
        "errors": errors,
        "mix": shares,
        "accuracy": right / labelled if labelled else None,
    }
