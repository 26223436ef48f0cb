"""Pictures of what a segmenter says: image, truth, prediction."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from vintk_jax.data.label_maps import IGNORED
from vintk_jax.report.style import PAPER, style

_SHOWN = 4  # images


def colours(classes: int) -> UInt8[np.ndarray, "classes 3"]:
    """A colour for each class: matplotlib's, repeated where there are more classes than colours."""
    import matplotlib

    table = np.array(
        [*matplotlib.colormaps["tab20"].colors, *matplotlib.colormaps["tab20b"].colors]
    )
    return (table[np.arange(classes) % len(table)] * 255).astype(np.uint8)


def write_predictions(path: Path, task: Any, params: Any, count: int = _SHOWN) -> None:
    """Write a few images of a task's test set, one below the other: the image, its true classes,
    and the predicted ones. Grey pixels are not measured.

    Args:
        task: a `tasks.base.Task` of pixels.
        params: the model's variables.
    """
    from matplotlib.figure import Figure

    chosen = np.linspace(0, len(task.test) - 1, min(count, len(task.test))).astype(int)
    pairs = [task.eval_transform(task.test[int(i)], np.random.default_rng(0)) for i in chosen]
    images, truth = (np.stack([pair[key] for pair in pairs]) for key in ("image", "label"))

    @jax.jit
    def predict(params, images):
        return task.predict(task.spec.model, None)(params, images).argmax(-1)

    said = np.asarray(predict(params, images))
    table = colours(len(task.test.classes))
    grey = np.full(3, 200, np.uint8)

    def paint(maps):
        return np.where(
            (truth == IGNORED)[..., None], grey, table[np.minimum(maps, len(table) - 1)]
        )

    columns = {"image": images, "truth": paint(truth), "prediction": paint(said)}
    shown = np.unique(np.concatenate([truth[truth != IGNORED], said.reshape(-1)]))
    height, width = images.shape[1:3]
    with style(font_size=9):
        figure = Figure(
            (7.2, 7.2 / 3 * height / width * len(images) + 1.0),
            layout="constrained",
            facecolor=PAPER,
        )
        axes = figure.subplots(len(images), len(columns), squeeze=False)
        for row in range(len(images)):
            for column, (name, pictures) in enumerate(columns.items()):
                axes[row, column].imshow(pictures[row], interpolation="nearest")
                axes[row, column].set_axis_off()
                if row == 0:
                    axes[row, column].set_title(name)
        patches = [figure.add_artist(_square(table[i])) for i in shown]
        names = [task.test.classes[i] for i in shown]
        figure.legend(
            patches, names, loc="outside lower center", ncols=min(len(names), 6), frameon=False
        )
        figure.savefig(path, dpi=150)


def _square(colour: UInt8[np.ndarray, " 3"]):
    from matplotlib.patches import Rectangle

    return Rectangle((0, 0), 0, 0, facecolor=colour / 255)
