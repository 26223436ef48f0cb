"""A search in one picture, for a README."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vintk_jax.files import write_atomically
from vintk_jax.report.describe import lists, scalars
from vintk_jax.report.search_figures import draw_architecture, draw_scores, draw_spectra
from vintk_jax.report.style import PAPER, style
from vintk_jax.scored_candidate import ScoredCandidate

INCHES = (16.0, 7.0)
DPI = 100


def write_search_picture(
    path: Path,
    *,
    candidates: Sequence[ScoredCandidate],
    pareto: Sequence[int],
    spectra: Mapping[str, Sequence[int | float]],
    arch: Mapping[str, Any],
    title: str,
) -> None:
    """A PNG of 1600 x 700 pixels: scores against multiply-adds, and beside them the architecture
    and its kernels' spectra.

    Args:
        path: where to write.
        candidates: as for `write_search_report`.
        pareto: numbers of the candidates on the Pareto front.
        spectra: eigenvalues by the name of the input's view; nothing is drawn when empty.
        arch: JSON of the architecture to draw.
        title: headline of the picture.
    """
    from matplotlib.figure import Figure

    with style(font_size=15):
        figure = Figure(INCHES, DPI, facecolor=PAPER, layout="constrained")
        figure.suptitle(title, x=0.005, ha="left", fontsize=20, fontweight="bold")
        figure.get_layout_engine().set(rect=(0.005, 0.01, 0.99, 0.97))
        beside = [
            draw for draw, drawn in ((_architecture, lists(arch)), (_spectra, spectra)) if drawn
        ]
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1)) if beside else (figure, None)
        draw_scores(left.subplots(), candidates, pareto)
        for draw, part in zip(
            beside,
            right.subfigures(len(beside), 1, squeeze=False)[:, 0] if beside else (),
            strict=True,
        ):
            draw(part, arch, spectra)
        stream = io.BytesIO()
        figure.savefig(stream, format="png")
    write_atomically(Path(path), stream.getvalue())


def _architecture(part, arch, spectra) -> None:
    facts = [f"{name} {value}" for name, value in scalars(arch).items()]
    part.suptitle("   ".join(["best architecture", *facts]), x=0.0, ha="left", fontsize="medium")
    draw_architecture(part, arch)


def _spectra(part, arch, spectra) -> None:
    draw_spectra(part.subplots(), spectra)
