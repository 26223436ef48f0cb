"""The colours and the matplotlib settings that all figures share."""

import contextlib
from collections.abc import Iterator

INK = "#1d232b"
MUTED = "#5d6875"
GRID = "#dfe3e8"
PAPER = "#fefefe"
STAR = "#d9483b"
# Of middling lightness, to be told from white and from black.
RAMP = ("#7b6fe0", "#1f9aa0", "#c9961f")


@contextlib.contextmanager
def style(font_size: int | float) -> Iterator[None]:
    """Matplotlib's settings for every figure. Draw and save inside the block."""
    import matplotlib

    settings = {
        "font.size": font_size,
        "axes.labelsize": font_size,
        "axes.titlesize": font_size * 1.1,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.formatter.useoffset": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "axes.edgecolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "axes.labelcolor": MUTED,
        "text.color": INK,
        "legend.frameon": False,
        "legend.handletextpad": 0.4,
        "legend.columnspacing": 1.2,
        "text.parse_math": False,
        "svg.fonttype": "none",
    }
    with matplotlib.rc_context(settings):
        yield


def colour_ramp(count: int) -> list[str]:
    """So many colours from one end of `RAMP` to the other."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    ramp = LinearSegmentedColormap.from_list("ramp", RAMP)
    return [to_hex(ramp(i / max(1, count - 1))) for i in range(count)]
