"""A chart of curves for the HTML page, which tells their values at the place that is pointed at."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from starcli.plots.training_figure import LOG_RATIO
from starcli.reports.drawing import WIDEST_LETTER, LogScale, Scale, axes, cut_middle, polyline, svg, text_at
from starcli.reports.html import Markup, element

WIDTH, LEFT, RIGHT, TOP, HEIGHT = 390, 46, 16, 26, 180
"""Sizes of a chart in pixels: all of it, its margins, and the height of the part with the curves."""

MOST_LABELS = 24
"""Largest number of curves that a legend names; pointing at the chart names those that are there."""

COLOURS = 8
"""Number of colours; then they begin again with another dash."""


@dataclass(frozen=True)
class ChartCurve:
    """A curve: its label, places and values, perhaps the lowest and highest ones of what it is the mean of.

    slot: number of its colour and dash. has_chord: whether the straight line between its ends is drawn too.
    marked: number of the point whose distance from that line is drawn.
    """

    label: str
    slot: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    has_chord: bool = False
    marked: int | None = None

    @property
    def style(self) -> str:
        """Class of the curve in the style sheet."""
        return f"curve s{self.slot % COLOURS} d{self.slot // COLOURS % 3}"


@dataclass(frozen=True)
class Labels:
    """Words of a chart: what it shows, and of its two axes."""

    title: str
    across: str
    up: str


def curve_chart(
    curves: Sequence[ChartCurve], labels: Labels, *, whole: bool = False, least: float | None = None, log: bool = False
) -> Markup:
    """An SVG chart of curves over a common x axis; `whole`: its numbers are whole, as those of epochs.

    The other axis has the value `least` in any case, or with `log` is logarithmic where values differ much.
    """
    values = [value for curve in curves for value in (*curve.y, *(curve.low or ()), *(curve.high or ()))]
    ends = TOP + HEIGHT, TOP
    logarithmic = log and min(values) > 0 and max(values) > LOG_RATIO * min(values)
    up = LogScale.over(values, *ends) if logarithmic else Scale.over(values, *ends, least=least)
    places = [value for curve in curves for value in curve.x]
    across = Scale(min(places), max(places) if max(places) > min(places) else min(places) + 1, LEFT, WIDTH - RIGHT)
    bands = [_band(curve, across, up) for curve in curves if curve.low is not None]
    lines = [_line(curve, across, up) for curve in curves]
    legend, height = _legend(curves, TOP + HEIGHT + 52)
    cursor = element("line", x1=0, x2=0, y1=TOP, y2=TOP + HEIGHT, class_="cursor", visibility="hidden")
    said = f"{labels.title}: {labels.up} over {labels.across}, {', '.join(curve.label for curve in curves)}"
    ruled = axes(across, up, labels.across, labels.up, whole=whole)
    data = _data(curves, across, labels)
    return svg(WIDTH, height, said, ruled, *bands, *lines, legend, cursor, data_curves=data, tabindex=0, class_="chart")


def _line(curve: ChartCurve, across: Scale, up: Scale) -> Markup:
    points = [(across(x), up(y)) for x, y in zip(curve.x, curve.y, strict=True)]
    dots = () if len(points) > 40 else [p for p in points if all(map(math.isfinite, p))]
    marks = (element("circle", cx=x, cy=y, r=2.1, class_=f"f{curve.slot % COLOURS}") for x, y in dots)
    straight = polyline([points[0], points[-1]])
    chord = element("path", d=straight, class_=f"{curve.style} chord") if curve.has_chord else None
    return element("g", chord, _mark(curve, points), element("path", d=polyline(points), class_=curve.style), *marks)


def _mark(curve: ChartCurve, points: Sequence[tuple[float, float]]) -> Markup | None:
    """The upright line from the chord, between the curve's ends, to the marked point."""
    if curve.marked is None:
        return None
    (left, start), (right, end), (x, y) = points[0], points[-1], points[curve.marked]
    upright = polyline([(x, start + (end - start) * (x - left) / (right - left)), (x, y)])
    return element("path", d=upright, class_=f"{curve.style} mark")


def _band(curve: ChartCurve, across: Scale, up: Scale) -> Markup:
    """The area between the lowest and the highest values of what a curve is the mean of."""
    below = [(across(x), up(y)) for x, y in zip(curve.x, curve.low or (), strict=True)]
    above = [(across(x), up(y)) for x, y in zip(curve.x, curve.high or (), strict=True)]
    return element("path", d=polyline([*below, *reversed(above)]), class_=f"band f{curve.slot % COLOURS}")


def _legend(curves: Sequence[ChartCurve], top: float) -> tuple[Markup, float]:
    """Labels of the curves in lines, and the height of the chart with them."""
    x, y, parts = float(LEFT), top, []
    for curve in curves[:MOST_LABELS]:
        label = cut_middle(curve.label, WIDTH - LEFT - 60)
        wide = 30 + WIDEST_LETTER * len(label)
        if x > LEFT and x + wide > WIDTH:
            x, y = float(LEFT), y + 17
        parts.append(element("line", x1=x, x2=x + 22, y1=y - 4, y2=y - 4, class_=curve.style))
        parts.append(text_at(label, x + 27, y, "label"))
        x += wide + 14
    if len(curves) > MOST_LABELS:
        y += 17
        parts.append(text_at(f"and {len(curves) - MOST_LABELS} more", LEFT, y, "label"))
    return element("g", *parts), y + 10


def _data(curves: Sequence[ChartCurve], across: Scale, labels: Labels) -> str:
    """The curves and the x axis as JSON, from which the page's script finds the values at a place."""
    found = {
        "across": labels.across,
        "scale": [across.low, across.high, across.start, across.end],
        "curves": [
            {
                "label": curve.label,
                "slot": curve.slot % COLOURS,
                "x": list(curve.x),
                "y": _rounded(curve.y),
                **({"low": _rounded(curve.low), "high": _rounded(curve.high)} if curve.low and curve.high else {}),
            }
            for curve in curves
        ],
    }
    return json.dumps(found, separators=(",", ":"), allow_nan=False)


def _rounded(values: Sequence[float]) -> list[float | None]:
    """Values with five digits, which are more than a page shows; None where they are not finite."""
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in values]
