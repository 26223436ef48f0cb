"""The photographs and digits that scikit-learn ships, read without importing scikit-learn. Its
import takes most of a second, a fifth of a command's second start.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image


class Digits(NamedTuple):
    """Handwritten digits (UCI, Alpaydin and Kaynak 1998).

    Attributes:
        images: in [0, 16].
        labels: which digit each is.
    """

    images: Float[np.ndarray, "n 8 8"]
    labels: Int[np.ndarray, " n"]


def _folder() -> Path:
    """scikit-learn's folder of data sets, found without running scikit-learn's code."""
    return Path(importlib.util.find_spec("sklearn").submodule_search_locations[0]) / "datasets"


@lru_cache
def photographs() -> tuple[UInt8[np.ndarray, "height width 3"], ...]:
    """Two photographs of 427 x 640 pixels, as `sklearn.datasets.load_sample_images` gives them."""
    paths = sorted((_folder() / "images").glob("*.jpg"))
    if not paths:  # a scikit-learn that keeps its files elsewhere
        from sklearn.datasets import load_sample_images

        return tuple(load_sample_images().images)
    pictures = []
    for path in paths:
        with Image.open(path) as image:
            pictures.append(np.asarray(image))
    return tuple(pictures)


@lru_cache
def digits() -> Digits:
    """1,797 digits, as `sklearn.datasets.load_digits` gives them."""
    path = _folder() / "data" / "digits.csv.gz"
    if not path.is_file():
        from sklearn.datasets import load_digits

        loaded = load_digits()
        return Digits(loaded.images, loaded.target)
    table = np.loadtxt(path, delimiter=",")
    return Digits(table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(int))
