"""A figure as SVG whose colours follow a web page's light or dark theme."""

import html
import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vintk_jax.report.style import GRID, INK, MUTED, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# CSS variables that stand in for these in SVG
THEME = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"}


def to_svg(figure: "Figure", prefix: str, title: str, tooltips: Mapping[str, str] = {}) -> str:
    """The figure as an SVG element for a page that has the variables of `THEME`. Every id starts
    with the prefix.

    Args:
        figure: what was drawn.
        prefix: unique in the page.
        title: what a reader who can't see it is told.
        tooltips: by the gid of what they belong to.
    """
    stream = io.StringIO()
    figure.savefig(
        stream,
        format="svg",
        transparent=True,
        dpi=200,
        metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")),
    )
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)
    svg = re.sub(r'width="[^"]*"', "", svg, count=1)
    svg = re.sub(r'height="[^"]*"', "", svg, count=1)
    for gid, text in tooltips.items():
        svg = svg.replace(f'<g id="{gid}">', f'<g id="{gid}"><title>{html.escape(text)}</title>')
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\1{prefix}-", svg)
    for colour, variable in THEME.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg
