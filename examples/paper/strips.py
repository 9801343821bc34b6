"""Figures that several experiments draw."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from starcli.plots.style import BLACK, LINE_STYLES, grow

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def strips(columns: Mapping[str, Sequence[float]], label: str) -> "Callable[[Figure], None]":
    """A column of points for each list of values, with a dash at their mean."""

    def paint(figure: "Figure") -> None:
        grow(figure, 2.2)
        axis = figure.subplots()
        for place, values in enumerate(columns.values()):
            color, marker, _ = LINE_STYLES[place % len(LINE_STYLES)]
            beside = [place + 0.24 * ((n * 0.618) % 1 - 0.5) for n in range(len(values))]
            axis.plot(beside, values, marker, color=color, alpha=0.6, markeredgewidth=0)
            axis.hlines(statistics.fmean(values), place - 0.25, place + 0.25, color=BLACK)
        axis.set_xticks(range(len(columns)), columns)
        axis.grid(axis="x", visible=False)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)

    return paint
