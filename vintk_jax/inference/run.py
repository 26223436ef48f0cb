"""Running a source of images through a predictor: predictions to a file, accuracy and images a second."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax.data.augment import Centre
from vintk_jax.data.sources import Source
from vintk_jax.errors import UserError
from vintk_jax.files import write_atomically
from vintk_jax.inference.predictor import Predictor
from vintk_jax.report.progress import COMPILING, Progress


def _prepared(source: Source, start: int, stop: int, transform: Centre) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Records and images; a broken image gets an error in its record and a black image in its place."""
    records, images = [], []
    for index in range(start, stop):
        try:
            element = source[index]
            images.append(transform(element, np.random.default_rng(0))["image"])
            known = {"label": int(element["label"])} if element["label"] >= 0 else {}
            records.append({"image": element.get("name", index), **known})
        except UserError as error:
            images.append(np.zeros((transform.size, transform.size, 3), np.uint8))
            records.append({"image": index, "error": str(error)})
    return records, images


def predict_source(
    predictor: Predictor, names: Sequence[str], source: Source, batch_size: int, path: Path, progress: Progress
) -> dict[str, dict[str, float]]:
    """Write a line for each image and length; by length, the share that is right and images a second (reading not counted).

    Raises:
        UserError: for a batch size below one.
    """
    if batch_size < 1:
        raise UserError(f"data.batch_size={batch_size} came; 1 at least was wanted.")
    transform = Centre(predictor.image_size, predictor.crop_ratio)
    seconds, right, labelled, lines = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0), 0, []
    progress.phase(COMPILING)
    blank = np.zeros((batch_size, transform.size, transform.size, 3), np.uint8)
    for name in names:
        predictor(blank, name).block_until_ready()
    progress.phase("predicting")
    for start in range(0, len(source), batch_size):
        records, images = _prepared(source, start, min(start + batch_size, len(source)), transform)
        batch = np.stack(images + [blank[0]] * (batch_size - len(images)))
        labelled += sum("label" in record for record in records)
        for name in names:
            begun = time.perf_counter()
            probabilities = np.asarray(predictor(batch, name))
            seconds[name] += time.perf_counter() - begun
            for record, row in zip(records, probabilities):
                if "error" in record:
                    lines.append({**record, "tokens": name})
                    continue
                best = int(np.argmax(row))
                right[name] += best == record.get("label", -1)
                lines.append({**record, "tokens": name, "class": predictor.classes[best], "probability": round(float(row[best]), 6)})
        progress.update((start + len(records)) * len(names))
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines).encode())
    return {
        name: {
            "accuracy": right[name] / labelled if labelled else float("nan"),
            "images_per_second": len(source) / max(seconds[name], 1e-9),
        }
        for name in names
    }
