"""Figure of the barriers between all pairs of models."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from starcli.plots.look import Look
from starcli.plots.loss_words import loss_title
from starcli.plots.parts import few_ticks, heading, model_name, treatment_words, two_digits
from starcli.plots.rows import DrawnLine
from starcli.plots.ruler import Ruler
from starcli.plots.style import draw_figure, grow
from starcli.registry.tasks import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


SMALLEST_NUMBER = 4.5
"""Smallest size of the numbers in cells, in points; below it they are left out."""

LEAST_SIDE = 1.3
"""Least side of a triangle, in inches: beside it stands a scale with its label."""

LARGEST_CELL = 0.65
"""Largest side of a cell, in inches."""


def pairs_figure(results: Mapping[str, Sequence[DrawnLine]], kind: str, look: Look) -> bytes:
    """Draw the barriers between all pairs of models as triangles of colours, each pair once.

    A row for the loss and one for accuracy (or R2, F1), a column for each split; numbers are written into
    the cells where they fit, a dash where a barrier is not finite. results: the lines of each file, by its label; a
    colour means the same barrier in all of them.
    """
    lines = [line for found in results.values() for line in found]
    splits = list(dict.fromkeys(split for line in lines for split in line.curves))
    titles = {"loss": loss_title(lines[0].task).replace("loss", "loss barrier")}
    metric = METRICS[name := next(iter(lines[0].curves.values())).metric]
    titles[name] = metric.title.replace(metric.heading, f"{metric.heading} barrier")

    def paint(figure: "Figure") -> None:
        heading(figure, look, sorted({treatment_words(line.alignment, line.renormalise) for line in lines}))
        axes = figure.subplots(len(titles) * len(results), len(splits), squeeze=False)
        ruler, small = Ruler(look), Ruler(look, look.small)
        highest = {metric: _highest(lines, metric) for metric in titles}
        for number, (file, found) in enumerate(results.items()):
            models = _models(found)
            names = small.distinct([model_name(model) for model in models], 0.2 * look.width)
            margin = max(map(small.width, names))
            room = (look.width - margin - 0.9) / len(splits)
            side = min(room, max(LARGEST_CELL * (len(names) - 1), LEAST_SIDE))
            grow(figure, len(titles) * (side + 0.2) + margin + 0.15)
            for place, metric in enumerate(titles):
                row = axes[number * len(titles) + place]
                triangles = {split: _triangle(found, models, split, metric) for split in splits}
                title = titles[metric]
                label = title if ruler.width(title) <= side else title.replace(" ", "\n", 1)
                _paint_row(figure, row, triangles, highest[metric], label, small, side)
                for axis, split in zip(row, splits, strict=True):
                    above = [file] if len(results) > 1 and place == 0 else []
                    above_panel = [*above, split]
                    axis.set_title("\n".join(ruler.shorten(part, 0.9 * room) for part in above_panel))
                    last = place == len(titles) - 1
                    _name_sides(axis, names, small, side, left=axis is row[0], below=last)

    return draw_figure(paint, kind, look)


def _models(lines: Sequence[DrawnLine]) -> list[str]:
    """The models that lines are between."""
    return list(dict.fromkeys(model for line in lines for model in (line.a, line.b)))


def _highest(lines: Sequence[DrawnLine], metric: str) -> float:
    """The largest finite barrier of all lines and splits, 1 where there is none above 0: the end of the scale."""
    values = [_value(line, split, metric) for line in lines for split in line.curves]
    return max(filter(math.isfinite, values), default=0.0) or 1.0


def _value(line: DrawnLine, split: str, metric: str) -> float:
    """The barrier on a line, as it is drawn: of shares in per cent."""
    curve = line.curves[split]
    return curve.loss_barrier if metric == "loss" else METRICS[metric].factor * curve.metric_barrier


def _triangle(lines: Sequence[DrawnLine], models: Sequence[str], split: str, metric: str) -> Any:
    """Values of pairs (models - 1, models - 1), NaN above: rows from the second model on, columns from the first."""
    place = {model: number for number, model in enumerate(models)}
    found = np.full((len(models) - 1, len(models) - 1), np.nan)
    for line in lines:
        first, last = sorted((place[line.a], place[line.b]))
        if split in line.curves and first < last:
            found[last - 1, first] = _value(line, split, metric)
    return found


def _paint_row(
    figure: "Figure", row: Any, triangles: Mapping[str, Any], highest: float, title: str, ruler: Ruler, side: float
) -> None:
    """Draw the triangle of each split on a scale of colours from 0 to `highest`, which stands beside them."""
    images = [
        _paint_triangle(axis, values, highest, ruler, side)
        for axis, values in zip(row, triangles.values(), strict=True)
    ]
    bar = figure.colorbar(images[0], ax=list(row), label=title, shrink=0.85, aspect=18, pad=0.02)
    few_ticks(bar.ax.yaxis)
    bar.outline.set_visible(False)


def _paint_triangle(axis: "Axes", values: Any, highest: float, ruler: Ruler, side: float) -> Any:
    """Draw cells, with their numbers where they fit; returns the image, for its scale of colours."""
    image = axis.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=0, vmax=highest)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    texts = {
        (row, column): two_digits(values[row, column]) if math.isfinite(values[row, column]) else "–"
        for row in range(len(values))
        for column in range(row + 1)
    }
    size = ruler.size * 0.9 * side / len(values) / max(map(ruler.width, texts.values()))
    for (i, j), text in texts.items() if size >= SMALLEST_NUMBER else ():
        colour = "white" if values[i, j] < 0.5 * highest else "black"
        axis.text(j, i, text, ha="center", va="center", color=colour, fontsize=min(size, ruler.size))
    return image


def _name_sides(axis: "Axes", names: Sequence[str], ruler: Ruler, side: float, *, left: bool, below: bool) -> None:
    """Write the names of the models at both sides; every second, third, ... where there is no room for all."""
    step = math.ceil(ruler.line * (len(names) - 1) / side)
    places = range(0, len(names) - 1, step)
    fits = max(map(ruler.width, names)) < side / (len(names) - 1) * step
    axis.set_yticks(places, [names[place + 1] if left else "" for place in places])
    axis.set_xticks(places, [names[place] if below else "" for place in places], rotation=0 if fits else 90)
