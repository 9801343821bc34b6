"""Style that all figures share: formats, colours, fonts, and the same bytes for the same numbers.

No dates, no random ids. Colours are Okabe and Ito's, which colour-blind readers can tell apart; for print in grey every
curve has its own marker and dash as well.
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from starcli.barriers.groups import REGULAR, TO_HELD_OUT, TO_SOURCES, TRAINED, UNALIGNED
from starcli.errors import StarcliError, suggestion
from starcli.plots.look import FALLBACK, Look

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURE_FORMATS = ("png", "svg", "pdf")
"""File formats of figures."""


BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#333333",
)  # fmt: skip


GREY = "#6B6B6B"
"""Colour of what is said beside the curves."""


Style = tuple[str, str, str]
"""Colour, marker and dash of a curve."""


LINE_STYLES: tuple[Style, ...] = (
    (BLUE, "o", "-"), (RED, "^", "--"), (GREEN, "s", "-."), (BLACK, "D", ":"), (PURPLE, "v", "-"), (ORANGE, "P", "--"),
    (SKY, "X", "-."), (BLUE, "<", ":"), (RED, "h", "-"), (GREEN, "*", "--"), (BLACK, ">", "-."), (PURPLE, "p", ":"),
)  # fmt: skip
"""Colour, marker and dash of curves that have no style of their own, in turn."""


GROUP_STYLES: Mapping[str, Style] = {
    REGULAR: (BLUE, "o", "-"),
    UNALIGNED: (BLACK, "X", "-"),
    TO_SOURCES: (ORANGE, "s", "-."),
    TRAINED: (PURPLE, "D", ":"),
    TO_HELD_OUT: (RED, "^", "--"),
}
"""Colour, marker and dash of the paper's groups of pairs."""


def settings(look: Look) -> Mapping[str, Any]:
    """Settings of matplotlib."""
    return {
        "font.family": list(dict.fromkeys([look.family, FALLBACK])),
        "font.size": look.size,
        "axes.titlesize": look.size,
        "axes.labelsize": look.size,
        "legend.fontsize": look.size,
        "legend.title_fontsize": look.size,
        "xtick.labelsize": look.small,
        "ytick.labelsize": look.small,
        "text.parse_math": False,  # a $ in a file's name is a $
        "axes.formatter.limits": (-3, 4),
        "axes.formatter.useoffset": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#888888",
        "axes.linewidth": 0.6,
        "axes.labelcolor": BLACK,
        "axes.labelpad": 2.5,
        "axes.titlepad": 3.5,
        "text.color": BLACK,
        "xtick.color": BLACK,
        "ytick.color": BLACK,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.3,
        "lines.markersize": 3.2,
        "hatch.linewidth": 0.5,
        "legend.frameon": False,
        "legend.handlelength": 2.6,
        "legend.columnspacing": 1.5,
        "figure.facecolor": "white",
        "figure.constrained_layout.h_pad": 0.03,
        "figure.constrained_layout.w_pad": 0.03,
        "svg.hashsalt": "starcli",  # otherwise random ids in every file
        "svg.fonttype": "none",  # text stays text, in svg and pdf
        "pdf.fonttype": 42,
    }


METADATA: Mapping[str, Mapping[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
}
"""What matplotlib would write into a file about when and by what it was made, left out."""


def check_format(path: Path) -> str:
    """Format of a figure by the suffix of its file name. Raises StarcliError for other than png, svg and pdf.

    >>> check_format(Path("barrier.svg"))
    'svg'
    """
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in FIGURE_FORMATS:
        raise StarcliError(f"{path}: cannot draw a figure of that type{suggestion(suffix, FIGURE_FORMATS)}")
    return suffix


def draw_figure(paint: "Callable[[Figure], None]", kind: str, look: Look) -> bytes:
    """Paint a new figure as wide as `look` says, and return the bytes of its file. kind: png, svg or pdf.

    It has no height at first: `grow` adds what each part of it needs.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if kind not in FIGURE_FORMATS:
        raise StarcliError(f"cannot draw a figure of type {kind!r}{suggestion(kind, FIGURE_FORMATS)}")
    # the object interface with a local style: no global state, no window system
    with matplotlib.rc_context(cast(Any, settings(look))):
        figure = Figure(figsize=(look.width, 0.06), layout="constrained")
        paint(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=200, metadata=cast(Any, METADATA[kind]))
    return buffer.getvalue()


def grow(figure: "Figure", inches: float) -> None:
    """Make a figure higher."""
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + inches)
