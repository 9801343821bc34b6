"""Figure of loss and accuracy, or another metric, on planes in weight space."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from starcli.plots.look import Look
from starcli.plots.parts import (
    NARROWEST_PANEL,
    few_ticks,
    form_words,
    heading,
    legend_below,
    model_name,
    treatment_words,
    two_digits,
)
from starcli.plots.rows import DrawnPath, DrawnPlane, loss_title
from starcli.plots.ruler import Ruler
from starcli.plots.style import BLACK, draw_figure, grow
from starcli.registry.tasks import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CONTOURS = 14
"""Colours of a panel."""

LEAST_COLOURED = 1e-6
"""Least loss that has a colour of its own, as a share of the largest."""

BESIDE_PANEL = 1.05
"""Room in inches for what stands beside a panel: its ticks, label and scale of colours."""

MARKERS = "o^sDvP"
"""Markers of models in turn."""


def plane_figure(results: Mapping[str, Sequence[DrawnPlane]], kind: str, look: Look) -> bytes:
    """Draw loss (on a logarithmic scale) and accuracy, or R2 or F1, on each plane; dark is good.

    A row for each split of each plane. Models are marked, and the way of a curve is drawn. results: the planes of each
    file, by its label.
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
        rows = -(-len(panels) // across)
        axes = figure.subplots(rows, across, squeeze=False)
        for start in range(0, len(panels), across):
            sizes = [_height(plane, look.width / across) for _, plane, *_ in panels[start : start + across]]
            grow(figure, max(sizes) + 3.2 * Ruler(look).line)
        for axis, (file, plane, split, what) in zip(axes.flat, panels, strict=True):
            _paint_panel(figure, axis, plane, split, what, look)
            _mark(axis, plane, names)
            above = [file] if len(results) > 1 else []
            axis.set_title("\n".join(Ruler(look).shorten(each, look.width / across - BESIDE_PANEL) for each in above))
        handles = [_marker(place) for place in names.values()]
        labels = [f"model {name}" if name.isdecimal() else name for name in map(model_name, names)]
        for label, path in {way_words(plane.curve): plane.curve for _, plane in planes if plane.curve}.items():
            handles.append(_way(path))
            labels.append(label)
        legend_below(figure, look, handles, labels)

    return draw_figure(paint, kind, look)


def _common_words(planes: Sequence[DrawnPlane]) -> list[str]:
    """What all planes have in common."""
    said = {"random directions, normalised by filter" if p.type == "surface" else _aligned(p) for p in planes}
    return [*said] if len(said) == 1 else []


def _aligned(plane: DrawnPlane) -> str:
    return treatment_words(plane.alignment, "recalibrate")


def _height(plane: DrawnPlane, width: float) -> float:
    """Height of a panel in inches: of equal scales, unless it would be very low or high."""
    ratio = (plane.y[-1] - plane.y[0]) / (plane.x[-1] - plane.x[0])
    return float(np.clip(ratio, 0.5, 1.3)) * (width - BESIDE_PANEL)


def _paint_panel(figure: "Figure", axis: "Axes", plane: DrawnPlane, split: str, what: str, look: Look) -> None:
    """Draw levels of the loss or the metric, with their scale."""
    grid = plane.grids[split]
    is_loss = what == "loss"
    values = np.ma.masked_invalid(np.array(grid.loss if is_loss else grid.values, dtype=float))
    values = values if is_loss else values * METRICS[what].factor
    levels, norm = _levels(values, logarithmic=is_loss)
    shown = np.ma.clip(values, levels[0], levels[-1])
    filled = axis.contourf(
        plane.x, plane.y, shown, levels=levels, norm=norm, cmap="cividis" if is_loss else "cividis_r"
    )
    axis.contour(plane.x, plane.y, shown, levels=levels, colors="white", linewidths=0.25, alpha=0.6)
    title = loss_title(plane.task) if is_loss else METRICS[what].title
    ticks = levels[:: (CONTOURS - 1) // 4 + 1]
    bar = figure.colorbar(filled, ax=axis, label=f"{split} {title}", pad=0.02, aspect=18, ticks=ticks)
    bar.ax.set_yticks(ticks, [two_digits(tick) if is_loss else f"{tick:.1f}" for tick in ticks])
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)
    axis.grid(visible=False)
    unit = "" if plane.type == "surface" else " (L2)"
    axis.set_xlabel(f"x{unit}")
    axis.set_ylabel(f"y{unit}")
    few_ticks(axis.xaxis)
    few_ticks(axis.yaxis)


def _levels(values: Any, *, logarithmic: bool) -> tuple[Any, Any]:
    """Levels from the least to the largest value, of losses in equal factors, and how colours follow them."""
    from matplotlib.colors import LogNorm, Normalize

    known = values.compressed()
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if logarithmic:
        high = high if high > 0 else 1.0
        low = max(low, LEAST_COLOURED * high)
        high = max(high, 1.001 * low)
        return np.geomspace(low, high, CONTOURS), LogNorm(low, high)
    high = max(high, low + 1e-3 * max(abs(low), 1.0))
    return np.linspace(low, high, CONTOURS), Normalize(low, high)


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
    """What the way of a curve is called: by its form, and how far the curve is from where it is drawn.

    >>> way_words(DrawnPath(form="bezier", bends=["bend"], x=[0, 8], y=[0, 0], distance=0.606))
    'Bezier curve, projected, up to 0.61 (L2) off the plane'
    """
    off = f", projected, up to {two_digits(path.distance)} (L2) off the plane" if path.is_projected else ""
    return form_words(path.form) + off


def _way_style(path: DrawnPath) -> dict[str, Any]:
    """How the way of a curve is drawn: dashed, and dotted where the curve itself is elsewhere."""
    dash = (0, (1, 1.5)) if path.is_projected else (0, (4, 1.5))
    return {"color": "white", "linestyle": dash, "linewidth": 1.2, "zorder": 4}


def _marker(place: int) -> Any:
    """A model's marker, for the legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **_marker_style(place))


def _way(path: DrawnPath) -> Any:
    """A piece of a curve, for the legend, where it is not on a dark ground."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{**_way_style(path), "color": BLACK})
