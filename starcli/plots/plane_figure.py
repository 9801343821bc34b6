"""Figure of loss and accuracy, or another metric, on planes in weight space."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from starcli.plots.look import Look
from starcli.plots.loss_words import loss_title
from starcli.plots.parts import (
    NARROWEST_PANEL,
    few_ticks,
    form_words,
    heading,
    legend_below,
    legend_line,
    model_name,
    treatment_words,
    two_digits,
)
from starcli.plots.rows import DrawnPath, DrawnPlane
from starcli.plots.ruler import Ruler
from starcli.plots.style import BLACK, draw_figure, grow
from starcli.registry.tasks import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

CONTOURS = 14
"""Levels of a panel, of which two neighbours bound a colour."""

TICKS = 4
"""Spaces between ticks beside the colours, at most; the ends are ticks too."""

TICK_ROOM = 0.18
"""Least distance of two such ticks, as a share of the scale."""

LOWEST, HIGHEST = 0.4, 1.3
"""Least and largest height of a panel, as a multiple of its width; other planes are stretched to these."""

LEAST_COLOURED = 1e-6
"""Least loss that has a colour of its own, as a share of the largest."""

BESIDE_PANEL, BEFORE_PANEL = 1.15, 0.4
"""Room in inches for what stands beside a panel: its ticks, label and scale of colours; and before it, on the left."""

MARKERS = "o^sDvP"
"""Markers of models in turn."""


def plane_figure(results: Mapping[str, Sequence[DrawnPlane]], kind: str, look: Look) -> bytes:
    """Draw loss (on a logarithmic scale) and accuracy, or R2 or F1, on each plane; dark is good.

    A row for each split of each plane, whose colours are those of the other files. Both axes have one scale, or their
    labels say how far one is stretched. Models are marked, and the way of a curve is drawn. results: the planes of
    each file, by its label.
    """
    planes = [(file, plane) for file, found in results.items() for plane in found]
    across = 2 if look.width / 2 - BESIDE_PANEL * look.size / 8 >= NARROWEST_PANEL / 2 else 1

    def paint(figure: "Figure") -> None:
        names = {
            name: place for place, name in enumerate(dict.fromkeys(n for _, plane in planes for n in plane.models))
        }
        heading(figure, look, _common_words([plane for _, plane in planes]))
        shown = [(file, plane, split) for file, plane in planes for split in plane.grids]
        panels = [(*each, what) for each in shown for what in ("loss", each[1].grids[each[2]].metric)]
        limits = {
            (split, what): _limits(_all_values(shown, split, what), logarithmic=what == "loss")
            for _, _, split, what in panels
        }
        rows, ruler = -(-len(panels) // across), Ruler(look)
        labels = [_bar_label(plane, split, what) for _, plane, split, what in panels]
        width = look.width / across - BESIDE_PANEL
        beside = [line for label in labels for line in label.split(" ", 1)] + [axis_labels(p)[1] for _, p in planes]
        longest = max(map(ruler.width, beside))
        lowest = max(LOWEST, (longest - ruler.line) / width)  # half a line of it may stand out at either end
        sizes = [panel_ratio(plane, lowest) * width for _, plane, *_ in panels]
        heights = [max(sizes[start : start + across]) for start in range(0, len(panels), across)]
        axes = figure.subplots(rows, across, squeeze=False, height_ratios=heights)
        below = {id(p): ruler.wrap(axis_labels(p, lowest)[0], width + BEFORE_PANEL) for _, p in planes}
        grow(figure, sum(heights) + (2.2 + max(map(len, below.values()))) * ruler.line * rows)
        for axis, (file, plane, split, what), label, height in zip(axes.flat, panels, labels, sizes, strict=True):
            if ruler.width(label) > height + ruler.line:
                label = label.replace(" ", "\n", 1)
            _paint_panel(figure, axis, plane, split, what, limits[split, what], label)
            axis.set_xlabel("\n".join(below[id(plane)]))
            axis.set_ylabel(axis_labels(plane)[1])
            few_ticks(axis.xaxis, room=width)
            few_ticks(axis.yaxis)
            _mark(axis, plane, names)
            above = [file] if len(results) > 1 else []
            axis.set_title("\n".join(ruler.shorten(each, look.width / across - BESIDE_PANEL) for each in above))
        handles = [legend_line(**_marker_style(place)) for place in names.values()]
        labels = [f"model {name}" if name.isdecimal() else name for name in map(model_name, names)]
        for label, path in {way_words(plane.curve): plane.curve for _, plane in planes if plane.curve}.items():
            handles.append(legend_line(**{**_way_style(path), "color": BLACK}))  # no dark ground here
            labels.append(label)
        legend_below(figure, look, handles, labels)

    return draw_figure(paint, kind, look)


def _common_words(planes: Sequence[DrawnPlane]) -> list[str]:
    """What all planes have in common."""
    said = {plane_words(plane) for plane in planes}
    return [*said] if len(said) == 1 else []


def plane_words(plane: DrawnPlane) -> str:
    """How models of a plane were aligned; of a surface what its directions are and how far they go.

    >>> grid = {"models": ["a"], "places": [(0, 0)], "x": [-1, 1], "y": [-1, 1], "train": {"loss": [[1, 1]] * 2}}
    >>> grid["train"]["accuracy"] = [[1, 1]] * 2
    >>> plane_words(DrawnPlane(type="surface", radius=1, seed=3, **grid))
    "random directions of seed 3, normalised by filter; radius 1, in the filters' norms"
    """
    if plane.type == "plane":
        return treatment_words(plane.alignment, "recalibrate")
    seed = "" if plane.seed is None else f" of seed {plane.seed}"
    radius = "" if plane.radius is None else f"; radius {plane.radius:g}, in the filters' norms"
    return f"random directions{seed}, normalised by filter{radius}"


def panel_ratio(plane: DrawnPlane, lowest: float = LOWEST) -> float:
    """How high a plane is drawn, as a multiple of its width: of one scale, unless it would be very low or high."""
    return float(np.clip(plane.ratio, lowest, max(lowest, HIGHEST)))


def axis_labels(plane: DrawnPlane, lowest: float = LOWEST) -> tuple[str, str]:
    """Labels of x and y: their unit; below the panel, how far one of them is stretched against the other."""
    unit = "filters' norms" if plane.type == "surface" else "L2"
    stretch = panel_ratio(plane, lowest) / plane.ratio
    axis, by = ("y", stretch) if stretch > 1 else ("x", 1 / stretch)
    return f"x ({unit}{f'; {axis} stretched {by:.2g} times' if by > 1.01 else ''})", f"y ({unit})"


def _values(plane: DrawnPlane, split: str, what: str) -> Any:
    """Losses or values of the metric on a grid, masked where they are not finite."""
    grid = plane.grids[split]
    values = np.ma.masked_invalid(np.array(grid.loss if what == "loss" else grid.values, dtype=float))
    return values if what == "loss" else values * METRICS[what].factor


def _all_values(shown: Sequence[tuple[str, DrawnPlane, str]], split: str, what: str) -> Any:
    """Finite values of a split of all planes, which are to have one scale."""
    grids = [(plane, each) for _, plane, each in shown if each == split]
    found = [
        _values(plane, each, what).compressed() for plane, each in grids if what in ("loss", plane.grids[each].metric)
    ]
    return np.concatenate(found)


def _paint_panel(
    figure: "Figure", axis: "Axes", plane: DrawnPlane, split: str, what: str, limits: tuple[float, float], label: str
) -> None:
    """Draw levels of the loss or the metric, with their scale, which has the label."""
    is_loss = what == "loss"
    values, (levels, norm) = _values(plane, split, what), _levels(*limits, logarithmic=is_loss)
    shown = np.ma.clip(values, levels[0], levels[-1])
    filled = axis.contourf(
        plane.x, plane.y, shown, levels=levels, norm=norm, cmap="cividis" if is_loss else "cividis_r"
    )
    axis.contour(plane.x, plane.y, shown, levels=levels, colors="white", linewidths=0.25, alpha=0.6)
    ticks = _ticks(norm, logarithmic=is_loss)
    bar = figure.colorbar(filled, ax=axis, label=label, pad=0.02, aspect=18, ticks=ticks)
    bar.ax.set_yticks(ticks, _tick_texts(ticks))
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    axis.grid(visible=False)


def _bar_label(plane: DrawnPlane, split: str, what: str) -> str:
    """What colours show: `train loss (nats)`."""
    return f"{split} {loss_title(plane.task) if what == 'loss' else METRICS[what].title}"


def _limits(known: Any, *, logarithmic: bool) -> tuple[float, float]:
    """The least and the largest value, a little apart; of losses none so small that it would hide the others."""
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if logarithmic:
        high = high if high > 0 else 1.0
        low = max(low, LEAST_COLOURED * high)
        return low, max(high, 1.001 * low)
    return low, max(high, low + 1e-3 * max(abs(low), 1.0))


def _levels(low: float, high: float, *, logarithmic: bool) -> tuple[Any, "Normalize"]:
    """Levels from the least to the largest value, of losses in equal factors, and how colours follow them."""
    from matplotlib.colors import LogNorm, Normalize

    if logarithmic:
        return np.geomspace(low, high, CONTOURS), LogNorm(low, high)
    return np.linspace(low, high, CONTOURS), Normalize(low, high)


def _ticks(norm: "Normalize", *, logarithmic: bool) -> list[float]:
    """Both ends of a scale, and round numbers between them that are not too near to others."""
    from matplotlib.ticker import LogLocator, MaxNLocator

    low, high = norm.vmin or 0.0, norm.vmax or 1.0
    wide = logarithmic and high > 10 * low
    locator = LogLocator(numticks=TICKS + 1) if wide else MaxNLocator(TICKS, steps=[1, 2, 5, 10])
    ticks = [low, high]
    for tick in map(float, locator.tick_values(low, high)):
        if low < tick < high and all(abs(norm(tick) - norm(other)) > TICK_ROOM for other in ticks):
            ticks.append(tick)
    return sorted(ticks)


def _tick_texts(ticks: Sequence[float]) -> list[str]:
    """Ticks in as few digits, at least two, as tell them apart.

    >>> _tick_texts([40, 60, 99.98]), _tick_texts([0.001, 0.1, 3]), _tick_texts([99.91, 99.95])
    (['40', '60', '100'], ['0.001', '0.1', '3'], ['99.91', '99.95'])
    """
    least = min(b - a for a, b in pairwise(ticks)) / max(map(abs, ticks))
    digits = max(2, math.ceil(-math.log10(least)) + 1)
    rounded = [float(f"{tick:.{digits}g}") for tick in ticks]
    # 100 in two digits is 1e+02 to Python
    return [f"{tick:.{max(digits, 5)}g}".replace("-", "−") for tick in rounded]


def _mark(axis: "Axes", plane: DrawnPlane, names: Mapping[str, int]) -> None:
    """Draw the way of a curve, and the models above it."""
    if plane.curve is not None:
        axis.plot(plane.curve.x, plane.curve.y, **_way_style(plane.curve))
    for name, (x, y) in zip(plane.models, plane.places, strict=True):
        axis.plot([x], [y], clip_on=False, zorder=5, **_marker_style(names[name]))


def _marker_style(place: int) -> dict[str, Any]:
    marker = MARKERS[place % len(MARKERS)]
    return {"marker": marker, "linestyle": "", "color": "white", "markeredgecolor": BLACK, "markersize": 5}


def way_words(path: DrawnPath) -> str:
    """Words for the way of a curve: its form, and how far the curve is from where it is drawn.

    >>> way_words(DrawnPath(form="bezier", bends=["bend"], x=[0, 8], y=[0, 0], distance=0.606))
    'Bezier curve, projected, up to 0.61 (L2) off the plane'
    """
    off = f", projected, up to {two_digits(path.distance)} (L2) off the plane" if path.is_projected else ""
    return form_words(path.form) + off


def _way_style(path: DrawnPath) -> dict[str, Any]:
    """How the way of a curve is drawn: dashed, and dotted where the curve itself is elsewhere."""
    dash = (0, (1, 1.5)) if path.is_projected else (0, (4, 1.5))
    return {"color": "white", "linestyle": dash, "linewidth": 1.2, "zorder": 4}
