"""Adaptive inference to look at: a picture of accuracy against speed, and a page with images beside
the length that each was given.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from vintk_jax.files import write_atomically
from vintk_jax.report.adaptive_table import advice, comparison_cells
from vintk_jax.report.page import as_yaml, write_page
from vintk_jax.report.style import INK, MUTED, PAPER, RAMP, STAR, style
from vintk_jax.report.svg import to_svg

SHOWN = 24  # images of each length
LEAST_SIDE = 64  # pixels of a shown image
NEAR = 3  # percentage points from the longest length's accuracy
DPI = 100
CURVES = {
    "fixed": (INK, "o", "fixed lengths"),
    "tla": (STAR, "D", "assigner"),
    "cascade": (RAMP[0], "s", "confidence cascade"),
    "tome": (RAMP[1], "^", "token merging (ToMe)"),
    "evit": (MUTED, "v", "tokens fused by attention (as EViT)"),
}
DOTS = {"random": (MUTED, "X", "random, the assigner's mix"), "oracle": (RAMP[2], "*", "oracle")}


def draw_methods(axes: Any, result: Mapping[str, Any], *, oracle: bool = True) -> None:
    """Accuracy against images a second of every method.

    Args:
        result: what adaptive.json holds.
        oracle: whether it is drawn too.
    """
    entries = result["methods"]

    def of(name):
        return sorted(
            (e["images_per_second"], 100 * e["accuracy"])
            for e in entries
            if e["name"].split("-")[0] == name
        )

    for name, (colour, marker, label) in CURVES.items():
        if of(name):
            axes.plot(*zip(*of(name), strict=True), color=colour, marker=marker, label=label)
    for name, (colour, marker, label) in DOTS.items():
        if of(name) and (oracle or name != "oracle"):
            axes.plot(
                *zip(*of(name), strict=True),
                color=colour,
                marker=marker,
                markersize=10,
                linestyle="none",
                label=label,
            )
    axes.set(xlabel="images a second", ylabel="accuracy (%)")
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _title(result: Mapping[str, Any]) -> str:
    return (
        f"{result['images']:,} images of {result['dataset']}, batches of {result['batch_size']}, "
        f"{result['device']}"
    )


def write_adaptive_picture(path: Path, result: Mapping[str, Any]) -> None:
    """A PNG of accuracy against images a second of every method. On the left is all of it, on the
    right what is near the longest length's accuracy.

    Args:
        result: what adaptive.json holds.
    """
    from matplotlib.figure import Figure

    longest = next(e["accuracy"] for e in result["methods"] if e["name"].startswith("fixed-")) * 100
    with style(font_size=12):
        figure = Figure((14.0, 5.0), DPI, facecolor=PAPER, layout="constrained")
        figure.suptitle(_title(result), x=0.005, ha="left", fontsize=14, fontweight="bold")
        left, right = figure.subplots(1, 2)
        draw_methods(left, result)
        left.legend(loc="best", fontsize="small")
        draw_methods(right, result, oracle=False)
        right.axhline(longest, color=MUTED, linestyle=":", linewidth=1)
        near = [
            e["images_per_second"]
            for e in result["methods"]
            if abs(100 * e["accuracy"] - longest) < NEAR and e["name"] != "oracle"
        ]
        right.set_ylim(longest - NEAR, longest + NEAR / 3)
        right.set_xlim(0.9 * min(near), 1.1 * max(near))
        right.set_title(f"within {NEAR} points of the longest length")
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
    write_atomically(path, stream.getvalue())


def as_png(image: UInt8[np.ndarray, "size size 3"]) -> str:
    """The image as a PNG in base64, enlarged where it is small."""
    picture = Image.fromarray(image)
    if picture.width < LEAST_SIDE:
        times = -(-LEAST_SIDE // picture.width)
        picture = picture.resize((times * picture.width,) * 2, Image.Resampling.NEAREST)
    stream = io.BytesIO()
    picture.save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


def _galleries(
    images, lengths, predicted, labels, names: Sequence[str], classes: Sequence[str]
) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        of_length = np.flatnonzero(lengths == number)
        if not len(of_length):
            continue
        shown = np.sort(rng.permutation(of_length)[:SHOWN])
        tiles = [
            {
                "png": as_png(images[i]),
                "said": classes[predicted[i]],
                "is": classes[labels[i]],
                "right": bool(predicted[i] == labels[i]),
            }
            for i in shown
        ]
        right = float((predicted[of_length] == labels[of_length]).mean())
        share = len(of_length) / len(lengths)
        yield {"tokens": name, "share": share, "right": right, "tiles": tiles}


def write_adaptive_page(
    path: Path,
    *,
    result: Mapping[str, Any],
    images: UInt8[np.ndarray, "n size size 3"],
    lengths: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    names: Sequence[str],
    classes: Sequence[str],
    config: Mapping[str, Any],
) -> None:
    """Write the page: images by length, the curves, the table.

    Args:
        result: what adaptive.json holds.
        lengths: number of each image's length in `names`, cheapest first.
        predicted, labels: numbers of classes.
    """
    import markupsafe
    from matplotlib.figure import Figure

    with style(font_size=10):
        figure = Figure((8.0, 4.2), layout="constrained")
        axes = figure.subplots()
        draw_methods(axes, result)
        axes.legend(loc="best")
        svg = to_svg(figure, "curves", "Accuracy of every method against its images a second")
    headings, rows = comparison_cells(result["methods"])
    write_page(
        path,
        "adaptive.html.j2",
        title=f"Tokens by image: {result['dataset']}",
        about=_title(result),
        advice=advice(result),
        galleries=list(_galleries(images, lengths, predicted, labels, names, classes)),
        figure=markupsafe.Markup(svg),
        headings=headings,
        rows=rows,
        config=as_yaml(config),
    )
