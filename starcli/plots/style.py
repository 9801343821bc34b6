"""Style that all figures share: formats, colours, fonts, and the same bytes for the same numbers.

No dates, no random ids. Colours are Okabe and Ito's, which colour-blind readers can tell apart, and every curve has its
own marker and dash as well.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from starcli.errors import StarcliError, suggestion

FIGURE_FORMATS = ("png", "svg", "pdf")
"""File formats of figures."""


BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#333333",
)  # fmt: skip


GROUP_STYLES: Mapping[str, tuple[str, str, str]] = {  # colour, marker, dash
    "regular-regular": (BLUE, "o", "-"),
    "star-source": (ORANGE, "s", "-"),
    "star-source (training)": (PURPLE, "D", "--"),
    "star-held-out": (RED, "^", "-"),
}
"""Colour, marker and dash of the paper's groups of pairs."""


OTHER_STYLES = ((GREEN, "v", "-"), (SKY, "P", "--"), (BLACK, "X", ":"), (PURPLE, "D", "-."))
"""Colour, marker and dash of other groups, in turn."""


STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",  # the one font that comes with matplotlib: the same bytes everywhere
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": BLACK,
    "xtick.color": BLACK,
    "ytick.color": BLACK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.hashsalt": "starcli",  # otherwise random ids in every file
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
"""Settings of matplotlib."""


def check_format(path: Path) -> str:
    """Format of a figure by the suffix of its file name. Raises StarcliError for other than png, svg and pdf.

    >>> check_format(Path("barrier.svg"))
    'svg'
    """
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in FIGURE_FORMATS:
        raise StarcliError(f"{path}: cannot draw a figure of that type{suggestion(suffix, FIGURE_FORMATS)}")
    return suffix


def draw_figure(rows: int, columns: int, size: tuple[float, float], paint: Any, kind: str) -> bytes:
    """Paint a new figure of `rows` x `columns` axes with `paint(figure, axes)`, and return its file's bytes.

    size: width and height in inches. kind: png, svg or pdf.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if kind not in FIGURE_FORMATS:
        raise StarcliError(f"cannot draw a figure of type {kind!r}{suggestion(kind, FIGURE_FORMATS)}")
    # the object interface with a local style: no global state, no window system
    with matplotlib.rc_context(cast(Any, STYLE)):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        paint(figure, axes)
        metadata: Mapping[str, str | None] = {
            "png": {"Software": None},
            "svg": {"Date": None, "Creator": None},
            "pdf": {"CreationDate": None, "ModDate": None, "Creator": None, "Producer": None},
        }[kind]
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
    return buffer.getvalue()


def styles_of(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """Colour, marker and dash of each curve, fixed for the groups of the paper."""
    others = [name for name in names if name not in GROUP_STYLES]
    found = dict(GROUP_STYLES)
    found.update({name: OTHER_STYLES[i % len(OTHER_STYLES)] for i, name in enumerate(others)})
    return found
