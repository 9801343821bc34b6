"""Figure of loss and accuracy, or another metric, along straight lines between models."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from starcli.plots.bundles import MOST_MARKED, Bundle, bundles_of, common_words, ends_of, rise_above_chord
from starcli.plots.look import Look
from starcli.plots.loss_words import loss_title, unit_of_loss
from starcli.plots.parts import FEWEST_FOR_BAND, few_ticks, heading, legend_below, legend_line, two_digits
from starcli.plots.rows import DrawnLine
from starcli.plots.ruler import Ruler
from starcli.plots.style import GREY, draw_figure, grow
from starcli.registry.tasks import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_RANGE = 1e-3
"""Least range of an axis, as a share of its values."""

NARROW_FIGURE = 0.35
"""Narrow figures are less wide than so many inches for each point of their font."""

MOST_THIN = 30
"""Largest number of pairs that have lines of their own beneath their mean: more would be a second band."""


def barrier_figure(results: Mapping[str, Sequence[DrawnLine]], kind: str, look: Look) -> bytes:
    """Draw loss and accuracy along lines: a curve for each line, or for each group of lines its mean and deviation.

    A row for each split, the loss on the left and accuracy (%), or R2 or F1, on the right, as in the paper's figure 2:
    at t = 0 lies the first model of each pair (the star), at t = 1 the second. Dotted: the straight line between the
    ends, above which a barrier rises; of up to 3 lines the barrier is drawn where it is. Groups of 3 pairs and more
    have a band of one standard deviation, and up to 30 pairs a thin line each. results: the lines of each file, by its
    label.
    """
    bundles = bundles_of(results)
    lines = [line for bundle in bundles for line in bundle.lines]
    splits = list(dict.fromkeys(split for line in lines for split in line.curves))
    marked = len(lines) <= MOST_MARKED
    titles = {"loss": loss_title(lines[0].task)}
    titles |= {name: METRICS[name].title for name in {c.metric for line in lines[:1] for c in line.curves.values()}}

    def paint(figure: "Figure") -> None:
        ends = ends_of(bundles)
        narrow = look.width < NARROW_FIGURE * look.size
        below = ["" if narrow else Ruler(look).shorten(end, 0.16 * look.width) for end in ends]
        spelt = [f"t = {t}: {end}" for t, end in enumerate(ends) if end != below[t]]
        heading(figure, look, common_words(bundles), names=spelt)
        axes = figure.subplots(len(splits), 2, squeeze=False, sharex=True)
        line = Ruler(look).line
        labels = [f"{split} {title}" for split in splits for title in titles.values()]
        height = max(0.3 * look.width, *map(Ruler(look).width, labels))
        grow(figure, len(splits) * (height + 0.1) + 3 * line)
        for row, split in zip(axes, splits, strict=True):
            for axis, metric in zip(row, titles, strict=True):
                for bundle in bundles:
                    _paint_bundle(axis, bundle, split, metric)
                axis.set_ylabel(f"{split} {titles[metric]}")
                _finish(axis, metric, room=1.3 * line / height if marked else 0, narrow=narrow)
                if marked:
                    _mark(axis, bundles, split, metric)
        for axis in axes[-1]:
            _write_ends(axis, below, look)
        if len(bundles) > 1 or len(bundles[0].lines) > 1:
            handles = [legend_line(**_look(bundle)) for bundle in bundles]
            numbers = [f": {bundle.numbers(splits)}" for bundle in bundles]
            labels, files = [bundle.label for bundle in bundles], [bundle.file for bundle in bundles]
            title = _legend_title(bundles, splits)
            legend_below(figure, look, handles, labels, files=files, tails=numbers, title=title)

    return draw_figure(paint, kind, look)


def _paint_bundle(axis: "Axes", bundle: Bundle, split: str, metric: str) -> None:
    """Draw the mean of a bundle, its band and its lines; or only the lines, where they are one or two."""
    values, t = bundle.curves(split, metric), bundle.t
    if not len(values):
        return
    colour, look = bundle.style[0], _look(bundle)
    if len(values) < FEWEST_FOR_BAND:
        for curve in values:
            axis.plot(t, curve, **look)
            _chord(axis, t, curve, colour)
        return
    from matplotlib.collections import LineCollection

    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    if len(values) <= MOST_THIN:
        curves = [np.column_stack([t, curve]) for curve in values]
        axis.add_collection(LineCollection(curves, colors=colour, linewidths=0.5, alpha=0.4, zorder=1.5))
    axis.fill_between(t, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    axis.plot(t, mean, **look)
    _chord(axis, t, mean, colour)


def _look(bundle: Bundle) -> dict[str, Any]:
    """How the curve of a bundle is drawn."""
    colour, marker, dash = bundle.style
    return {"color": colour, "marker": marker, "linestyle": dash, "markeredgewidth": 0}


def _chord(axis: "Axes", t: Any, curve: Any, colour: str) -> None:
    """Draw the straight line between the ends."""
    axis.plot([t[0], t[-1]], [curve[0], curve[-1]], color=colour, linewidth=0.7, linestyle=(0, (1, 2)), zorder=1.8)


def _mark(axis: "Axes", bundles: Sequence[Bundle], split: str, metric: str) -> None:
    """Draw each line's barrier where the curve is farthest from the straight line between its ends, with its number.

    Of a barrier of 0 only the number stands, at that straight line.
    """
    for bundle in bundles:
        t = bundle.t
        for curve in bundle.curves(split, metric):
            chord, rise = curve[0] + t * (curve[-1] - curve[0]), rise_above_chord(t, curve, metric)
            colour = bundle.style[0]
            if not np.isfinite(rise).all():
                axis.text(0.5, 0.5, "not finite", color=colour, ha="center", va="center", transform=axis.transAxes)
                continue
            rises = rise.max() > 0
            place = int(rise.argmax()) if rises else len(t) // 2
            ends = [chord[place], curve[place] if rises else chord[place]]
            if rises:
                axis.plot([t[place]] * 2, ends, color=colour, linewidth=0.7, marker="_", markersize=4, zorder=1.7)
            above = metric == "loss"
            axis.annotate(
                two_digits(max(rise[place], 0.0)), (t[place], ends[1]), (0, 3 if above else -3),
                textcoords="offset points", ha="center", va="bottom" if above else "top", color=colour, zorder=4,
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.3},
            )  # fmt: skip


def _finish(axis: "Axes", metric: str, *, room: float, narrow: bool) -> None:
    """Choose the range of an axis: that of the values, within what is possible.

    narrow: whether there is room for no more than three numbers below it.
    room: for numbers above losses and below metrics, as a share of the range.
    """
    axis.set_xlim(-0.02, 1.02)
    ticks = [0, 0.5, 1] if narrow else [0, 0.2, 0.4, 0.6, 0.8, 1]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    few_ticks(axis.yaxis)
    low, high = axis.get_ylim()
    widened = max(LEAST_RANGE * max(abs(low), abs(high)) - (high - low), 0) / 2  # rounding would look like hills
    low, high = low - widened, high + widened
    if metric != "loss":
        best = METRICS[metric].factor
        high = min(high, best + 0.03 * (best - min(low, 0.99 * best)))
        low -= room * (high - low)
    else:
        high += room * (high - low)
    # no loss and no share is below 0
    axis.set_ylim(low if metric == "r2" else max(low, -0.03 * high), high)


def _write_ends(axis: "Axes", ends: Sequence[str], look: Look) -> None:
    """Write t, and what lies at its ends, beneath a panel."""
    axis.set_xlabel("t")
    for x, side, text in zip((0, 1), ("left", "right"), ends, strict=True):
        if text:
            axis.annotate(
                text, (x, 0), (0, -look.small - 7), xycoords="axes fraction", textcoords="offset points",
                ha=side, va="top", color=GREY, annotation_clip=False,
            )  # fmt: skip


def _legend_title(bundles: Sequence[Bundle], splits: Sequence[str]) -> str:
    """What curves and numbers of the legend are."""
    sizes = [len(bundle.lines) for bundle in bundles]
    unit = unit_of_loss(bundles[0].lines[0].task)
    number = f"{'mean ' if max(sizes) > 1 else ''}barrier on {' / '.join(splits)} ({unit})"
    if max(sizes) < FEWEST_FOR_BAND:
        return number
    thin = "; thin: each pair" if any(FEWEST_FOR_BAND <= size <= MOST_THIN for size in sizes) else ""
    return f"mean and one standard deviation{thin}\nnumbers: {number}"
