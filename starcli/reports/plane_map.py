"""A plane in weight space as a map of colours, darker where the loss is lower, with models and the way of a curve."""

import math
from collections.abc import Sequence

from starcli.plots.parts import model_name
from starcli.plots.plane_figure import LEAST_COLOURED, axis_labels, panel_ratio
from starcli.plots.rows import DrawnPlane
from starcli.reports.curve_chart import LEFT, TOP, WIDTH
from starcli.reports.drawing import LETTER, Scale, axes, cut_middle, polyline, svg, text_at
from starcli.reports.heat_map import LEVELS
from starcli.reports.html import Markup, element
from starcli.reports.tables import words

MAP_SIDE = 300
"""Width of the map in pixels."""


def plane_map(plane: DrawnPlane, split: str, title: str, unit: str) -> Markup:
    """Draw the loss on a split, in colours of equal factors; what is not finite has the colour of what is unknown."""
    height = MAP_SIDE * panel_ratio(plane)
    across = Scale(plane.x[0], plane.x[-1], LEFT, LEFT + MAP_SIDE)
    up = Scale(plane.y[0], plane.y[-1], TOP + height, TOP)
    values = plane.grids[split].loss
    finite = [value for line in values for value in line if math.isfinite(value)]
    highest = max(finite, default=1.0) or 1.0
    lowest = max(min(finite, default=0.0), LEAST_COLOURED * highest)
    levels = _Levels(lowest, highest)
    wide, high = MAP_SIDE / (len(plane.x) - 1), height / (len(plane.y) - 1)
    cells = []
    for y, line in zip(plane.y, values, strict=True):
        for x, value in zip(plane.x, line, strict=True):
            left, right = max(across(x) - wide / 2, LEFT), min(across(x) + wide / 2, LEFT + MAP_SIDE)
            top, bottom = max(up(y) - high / 2, TOP), min(up(y) + high / 2, TOP + height)
            cells.append(element("rect", x=left, y=top, width=right - left, height=bottom - top, class_=levels(value)))
    squares = element("g", *cells, shape_rendering="crispEdges")
    parts = [axes(across, up, *axis_labels(plane)), squares, _way(plane, across, up)]
    parts += [_mark(name, across(x), up(y)) for name, (x, y) in zip(plane.models, plane.places, strict=True)]
    parts.append(levels.scale(TOP + height + 52, unit))
    said = f"{title}: {unit} from {words(lowest)} to {words(highest)}"
    return svg(WIDTH, TOP + height + 92, said, *parts, class_="chart map")


class _Levels:
    """Colours of losses between two, in equal factors: the lowest is the darkest."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.step = math.log(low), max(math.log(high / low), 1e-9) / LEVELS

    def __call__(self, value: float) -> str:
        if not math.isfinite(value):
            return "unknown"
        place = (math.log(max(value, math.exp(self.low))) - self.low) / self.step
        return f"h{LEVELS - 1 - min(max(int(place), 0), LEVELS - 1)}"

    def scale(self, top: float, unit: str) -> Markup:
        """The colours and what they stand for."""
        wide = MAP_SIDE / LEVELS
        parts = [
            element("rect", x=LEFT + n * wide, y=top, width=wide, height=10, class_=f"h{LEVELS - 1 - n}")
            for n in range(LEVELS)
        ]
        for n in range(0, LEVELS + 1, 3):
            value = math.exp(self.low + n * self.step)
            parts.append(text_at(words(value, "loss"), LEFT + n * wide, top + 24, "tick middle"))
        return element("g", *parts, text_at(unit, LEFT + MAP_SIDE / 2, top + 39, "label middle"))


def _way(plane: DrawnPlane, across: Scale, up: Scale) -> Markup | None:
    """The way of a curve."""
    if plane.curve is None:
        return None
    points: Sequence[tuple[float, float]] = [
        (across(x), up(y)) for x, y in zip(plane.curve.x, plane.curve.y, strict=True)
    ]
    return element("path", d=polyline(points), class_=f"curve s1 d{2 if plane.curve.is_projected else 1}")


def _mark(name: str, x: float, y: float) -> Markup:
    """A model, and its name beside it, at the side where there is room."""
    shown = cut_middle(model_name(name), 90)
    beside = x + 8 + LETTER * len(shown) < LEFT + MAP_SIDE
    said = text_at(shown, x + 8 if beside else x - 8, y + 3.5, "plane-name" if beside else "plane-name end")
    return element("g", element("title", name), element("circle", cx=x, cy=y, r=4, class_="plane-mark"), said)
