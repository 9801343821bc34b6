"""Reliability diagrams: how often predictions are right, against how sure they are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from starcli.plots.look import Look
from starcli.plots.parts import heading, legend_below, model_name, panel_columns, two_digits
from starcli.plots.rows import DrawnBins, DrawnModel
from starcli.plots.ruler import Ruler
from starcli.plots.style import BLACK, BLUE, GREY, RED, SKY, draw_figure, grow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HIGHEST_PANEL = 2.5
"""Largest height of a panel, in inches."""

DIAGRAM_LABELS = ("accuracy", "gap to confidence", "perfect calibration")
"""What a diagram shows, in the order in which `paint_diagrams` returns it."""

COUNTS = 0.3
"""Height of the counts below a diagram, as a share of the diagram's."""


@dataclass(frozen=True)
class Diagram:
    """One diagram: its file, where there are several, its title, the ECE, and the bins."""

    file: str
    title: str
    error: float
    bins: DrawnBins


def reliability_figure(results: Mapping[str, Sequence[DrawnModel]], kind: str, look: Look) -> bytes:
    """Draw a reliability diagram for each model: accuracy against confidence in the bins of the ECE, and their counts.

    results: the models of each file, by its label. After Guo et al. 2017, figure 1.
    """
    models = [(file, model) for file, found in results.items() for model in found]
    splits = {model.split for _, model in models}
    diagrams = [
        each
        for file, model in models
        for each in _diagrams(file if len(results) > 1 else "", model, several_splits=len(splits) > 1)
    ]

    def paint(figure: "Figure") -> None:
        heading(figure, look, [f"{splits.copy().pop()} split"] if len(splits) == 1 else [])
        columns = panel_columns(look, len(diagrams))
        ratios = diagram_heights(look, columns, len(diagrams))
        axes = figure.subplots(len(ratios), columns, squeeze=False, height_ratios=ratios)
        grow(figure, sum(ratios) + 0.25 * len(axes))
        handles = paint_diagrams(axes, diagrams, look)
        legend_below(figure, look, handles, DIAGRAM_LABELS)

    return draw_figure(paint, kind, look)


def _diagrams(file: str, model: DrawnModel, *, several_splits: bool) -> list[Diagram]:
    """A diagram of a model, and one at the temperature if there is one."""
    name = model_name(model.model) + (f" ({model.split})" if several_splits else "")
    found = [Diagram(file, name, model.ece, model.reliability)]
    if model.scaled is not None:
        title = f"{name}, T = {two_digits(model.temperature)}"
        found.append(Diagram(file, title, model.scaled.ece, model.scaled.reliability))
    return found


def diagram_heights(look: Look, columns: int, count: int) -> list[float]:
    """Heights of the axes of `count` diagrams in so many columns, in inches: each row has its diagrams, and counts."""
    height = min(0.8 * look.width / columns, HIGHEST_PANEL)
    return [height, COUNTS * height] * math.ceil(count / columns)


def paint_diagrams(axes: Any, diagrams: Sequence[Diagram], look: Look) -> Sequence[Any]:
    """Draw diagrams into axes (2 rows, columns) in reading order, and remove axes that are left.

    Returns what the legend explains by `DIAGRAM_LABELS`.
    """
    columns = axes.shape[1]
    ruler, room = Ruler(look), 0.95 * look.width / columns - 0.35
    files, names = [diagram.file for diagram in diagrams], [diagram.title for diagram in diagrams]
    titles = ruler.within(ruler.after_files(files, names, room - ruler.width(":")), room)
    handles: Sequence[Any] = ()
    for number in range(axes.size // 2):
        row, column = divmod(number, columns)
        upper, lower = axes[2 * row, column], axes[2 * row + 1, column]
        if number < len(diagrams):
            handles = _paint_diagram(upper, lower, diagrams[number])
            upper.set_title(titles[number])
            if column == 0:
                upper.set_ylabel("accuracy")
                lower.set_ylabel("count")
        else:
            upper.remove()
            lower.remove()
    return handles


def _paint_diagram(upper: "Axes", lower: "Axes", diagram: Diagram) -> Sequence[Any]:
    """Draw accuracy and gap of each bin, and below the counts; return what the legend explains."""
    from matplotlib.ticker import LogLocator

    bins = diagram.bins
    confidence, accuracy, count = (np.array(each) for each in (bins.confidence, bins.accuracy, bins.count))
    width = 1 / len(count)
    centres = (np.arange(len(count)) + 0.5) * width
    there = count > 0
    right = upper.bar(centres[there], accuracy[there], 0.94 * width, color=SKY, edgecolor=BLUE, linewidth=0.5, zorder=2)
    gap = upper.bar(
        centres[there], (confidence - accuracy)[there], 0.94 * width, bottom=accuracy[there],
        facecolor="none", hatch="//////", edgecolor=RED, linewidth=0.5, zorder=3,
    )  # fmt: skip
    (ideal,) = upper.plot([0, 1], [0, 1], color=BLACK, linestyle="--", linewidth=0.9, zorder=4)
    upper.text(
        0.04, 0.95, f"ECE {two_digits(diagram.error)}", transform=upper.transAxes, ha="left", va="top", zorder=5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
    )  # fmt: skip
    for axis in (upper, lower):
        axis.set_xlim(0, 1)
        axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    upper.tick_params(labelbottom=False)
    upper.set_ylim(0, 1.02)
    lower.bar(centres[there], count[there], 0.94 * width, color=GREY, zorder=2)
    lower.set_yscale("log")
    lower.set_ylim(0.7, 1.6 * max(float(count.max()), 1.0))
    lower.yaxis.set_major_locator(LogLocator(numticks=4))
    lower.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}")  # not 10^2, which needs TeX's way of setting
    lower.minorticks_off()
    lower.set_xlabel("confidence")
    return right, gap, ideal
