"""Figures: barrier curves, all pairs, BMA and training curves, as bytes of a PNG, SVG or PDF; and a small one in text.

The same numbers give the same bytes: no dates, no random ids. Colours are Okabe and Ito's, which colour-blind readers
can tell apart, and every curve has its own marker and dash as well.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor

from starcli.errors import StarcliError, suggestion
from starcli.evaluation.confidence import RANKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from starcli.bma import Row
    from starcli.path import Barrier

FORMATS = ("png", "svg", "pdf")

BLUE, ORANGE, GREEN, PURPLE, SKY, RED, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#333333",
)  # fmt: skip

GROUP_STYLES: Mapping[str, tuple[str, str, str]] = {  # colour, marker, dash
    "regular-regular": (BLUE, "o", "-"),
    "star-source": (ORANGE, "s", "-"),
    "star-source (training)": (PURPLE, "D", "--"),
    "star-held-out": (RED, "^", "-"),
}
OTHER_STYLES = ((GREEN, "v", "-"), (SKY, "P", "--"), (BLACK, "X", ":"), (PURPLE, "D", "-."))

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


def check_format(path: Path) -> str:
    """The figure format of a file name's suffix: png, svg or pdf; anything else is an error."""
    suffix = path.suffix.lower().lstrip(".")
    if suffix not in FORMATS:
        raise StarcliError(f"{path}: cannot draw a figure of that type{suggestion(suffix, FORMATS)}")
    return suffix


def _draw(rows: int, columns: int, size: tuple[float, float], paint: Any, kind: str) -> bytes:
    """Paint a new figure of `rows` x `columns` axes with `paint(figure, axes)`, and return its file's bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    if kind not in FORMATS:
        raise StarcliError(f"cannot draw a figure of type {kind!r}{suggestion(kind, FORMATS)}")
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


def _styles(names: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """A colour, marker and dash for each curve, fixed for the groups of the paper."""
    others = [name for name in names if name not in GROUP_STYLES]
    found = dict(GROUP_STYLES)
    found.update({name: OTHER_STYLES[i % len(OTHER_STYLES)] for i, name in enumerate(others)})
    return found


MOST_LINES = 30
"""More pairs than this have no lines of their own beneath their mean: they would be a second band."""


def _band(axes: "Axes", x: Any, values: Any, style: tuple[str, str, str], label: str) -> None:
    """The mean over rows of `values` (curves, points), a band of one standard deviation, and a thin line each."""
    colour, marker, dash = style
    mean = values.mean(axis=0)
    if 1 < len(values) <= MOST_LINES:
        from matplotlib.collections import LineCollection

        lines = [np.column_stack([x, curve]) for curve in values]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.7, alpha=0.4, zorder=1.5))
    axes.plot(x, mean, color=colour, marker=marker, linestyle=dash, markeredgewidth=0, label=label)
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)


def barrier_figure(
    groups: Mapping[str, Sequence["Barrier"]], kind: str, *, splits: Sequence[str] = ("train", "test")
) -> bytes:
    """Loss and accuracy along paths: one mean curve with a one-sigma band for each group of barriers.

    Beneath the mean of up to 30 pairs each has a thin line of its own.
    One row a split, loss (nats) on the left and accuracy (%) on the right, as in the paper's figure 2: at t = 0 lies
    the first model of each pair (the star), at t = 1 the second. kind: png, svg or pdf.
    """
    groups = {name: found for name, found in groups.items() if found}
    if not groups:
        raise StarcliError("there is no barrier to draw")
    styles = _styles(list(groups))

    def paint(figure: "Figure", axes: Any) -> None:
        for row, split in zip(axes, splits, strict=True):
            for name, found in groups.items():
                t = np.array(found[0].t)
                curves = [getattr(barrier, split) for barrier in found]
                pairs = f"{name} ({len(found)} {'pair' if len(found) == 1 else 'pairs'})"
                _band(row[0], t, np.array([curve.loss for curve in curves]), styles[name], pairs)
                _band(row[1], t, 100 * np.array([curve.accuracy for curve in curves]), styles[name], pairs)
            row[0].set_ylabel(f"{split} loss (nats)")
            row[1].set_ylabel(f"{split} accuracy (%)")
            for one in row:
                one.set_xlim(-0.02, 1.02)
                one.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
            row[0].set_ylim(bottom=-0.03 * row[0].get_ylim()[1])  # zero loss is on the axis, its markers in full
            row[1].set_ylim(top=min(100.5, row[1].get_ylim()[1]))
        for one in axes[-1]:
            one.set_xlabel("t, from the first model to the second")
        handles, labels = axes[0][0].get_legend_handles_labels()
        columns = min(len(labels), 2 if len(labels) > 3 else 3)
        sizes = [len(found) for found in groups.values()]
        thin = ", thin: each pair" if any(1 < size <= MOST_LINES for size in sizes) else ""
        title = f"mean and one standard deviation{thin}" if max(sizes) > 1 else None
        figure.legend(handles, labels, loc="outside upper center", ncols=columns, title=title, title_fontsize=8)

    return _draw(len(splits), 2, (8.0, 2.5 * len(splits) + 0.7), paint, kind)


def pairs_figure(barriers: Tensor, names: Sequence[str], kind: str, *, split: str = "train") -> bytes:
    """The barriers between all pairs of models (n, n), nats, as a heat map; numbers are written in up to 12 models."""
    values = barriers.double().numpy()

    def paint(figure: "Figure", axes: Any) -> None:
        one = axes[0][0]
        shown = np.ma.masked_invalid(np.where(np.eye(len(values), dtype=bool), np.nan, values))
        image = one.imshow(shown, cmap="cividis", vmin=0)
        one.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        one.set_yticks(range(len(names)), names)
        one.grid(False)
        one.spines[:].set_visible(False)
        one.tick_params(length=0)
        if len(names) <= 12:
            middle = float(shown.max()) / 2 if shown.count() else 0.0
            for (i, j), value in np.ndenumerate(shown.filled(np.nan)):
                if not math.isnan(value):
                    colour = "white" if value < middle else "black"
                    one.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
        figure.colorbar(image, ax=one, label=f"{split} loss barrier (nats)", shrink=0.85).outline.set_visible(False)

    side = min(2.6 + 0.5 * len(names), 14.0)
    return _draw(1, 1, (side + 0.9, side), paint, kind)


BMA_STYLES = {"star": (RED, "^", "-"), "ensemble": (BLUE, "o", "-"), "single": (BLACK, "X", ":")}
BMA_NAMES = {"star": "star domain", "ensemble": "ensemble of the sources", "single": "single models"}
BMA_PANELS = (
    ("auroc_max_prob", "AUROC, maximum probability"),
    ("auroc_entropy", "AUROC, entropy"),
    ("ece", "expected calibration error"),
    ("nll", "negative log-likelihood (nats)"),
    ("accuracy", "accuracy"),
    ("aurc", "area under risk-coverage"),
)


def bma_figure(rows: Sequence["Row"], kind: str) -> bytes:
    """Metrics of the averaged predictions against the number of samples, with one-sigma bands over repeats.

    Single models are a horizontal line with its band. Like the paper's figure 4, with three more metrics.
    """

    decided = all(row.decided for row in rows)

    def paint(figure: "Figure", axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for one, (metric, title) in zip(axes.flat, BMA_PANELS, strict=True):
            for posterior, (colour, marker, dash) in BMA_STYLES.items():
                found = sorted((row for row in rows if row.posterior == posterior), key=lambda row: row.samples)
                if not found:
                    continue
                mean = np.array([row.mean[metric] for row in found])
                spread = np.array([row.std[metric] for row in found])
                label = BMA_NAMES[posterior]
                if posterior == "single":
                    one.axhline(mean[0], color=colour, linestyle=dash, label=label)
                    if math.isfinite(spread[0]):
                        one.axhspan(mean[0] - spread[0], mean[0] + spread[0], color=colour, alpha=0.08, linewidth=0)
                    continue
                x = [row.samples for row in found]
                one.plot(x, mean, color=colour, marker=marker, linestyle=dash, markeredgewidth=0, label=label)
                one.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
            one.set_title(title if decided or metric not in RANKING else f"{title}\nnot decided: under 30 errors")
            one.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        for one in axes[-1]:
            one.set_xlabel("models averaged")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)

    return _draw(2, 3, (10.0, 5.6), paint, kind)


BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], *, low: float | None = None, high: float | None = None) -> str:
    """A curve in one line of text, one block a value: the lowest is "▁", the highest "█", what is not finite "?".

    `low` and `high` set the scale, so that several curves compare; values beyond it are cut. A flat curve is low.
    """
    finite = [value for value in values if math.isfinite(value)]
    bottom = low if low is not None else min(finite, default=0.0)
    top = high if high is not None else max(finite, default=0.0)
    span = top - bottom

    def block(value: float) -> str:
        if not math.isfinite(value):
            return "?"
        share = (value - bottom) / span if span > 0 else 0.0
        return BLOCKS[min(max(round(share * (len(BLOCKS) - 1)), 0), len(BLOCKS) - 1)]

    return "".join(block(value) for value in values)
