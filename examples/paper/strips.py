"""Figures that several experiments draw."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from paper import stars
from paper.record import Row
from starcli.plots.style import BLACK, GROUP_STYLES, LINE_STYLES, grow

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def strips(
    columns: Mapping[str, Sequence[float]], label: str, styles: int = len(LINE_STYLES)
) -> "Callable[[Figure], None]":
    """A column of points for each list of values, with a dash at their mean; so many styles take turns."""

    def paint(figure: "Figure") -> None:
        grow(figure, 2.2)
        axis = figure.subplots()
        for place, values in enumerate(columns.values()):
            color, marker, _ = LINE_STYLES[place % styles]
            beside = [place + 0.24 * ((n * 0.618) % 1 - 0.5) for n in range(len(values))]
            axis.plot(beside, values, marker, color=color, alpha=0.6, markeredgewidth=0)
            axis.hlines(statistics.fmean(values), place - 0.25, place + 0.25, color=BLACK)
        axis.set_xticks(range(len(columns)), columns)
        axis.grid(axis="x", visible=False)
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)

    return paint


def star_strips(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """Train barriers between regular models, and from the stars of each case to held-out models."""
    columns = {stars.REGULAR: stars.barriers(rows, stars.REGULAR)}
    columns |= {case: stars.barriers(some, stars.STAR) for case, some in stars.cases(rows).items()}
    return strips(columns, "train barrier (nats)")


def paired_strips(rows: Sequence[Row]) -> "Callable[[Figure], None]":
    """Train barriers between regular models, and from the star, of each case up to the first comma of its name."""
    columns = {}
    for case, some in stars.cases(rows).items():
        for short, group in (("regular", stars.REGULAR), ("star", stars.STAR)):
            columns[f"{case.split(',')[0]}, {short}"] = stars.barriers(some, group)
    return strips(columns, "train barrier (nats)", styles=2)


def source_trends(rows: Sequence[Row], by: str) -> "Callable[[Figure], None]":
    """Train barriers against the number of sources, a panel for each `by`: "network" or "align"."""
    panels = {
        name: {
            group: {count: stars.barriers(some, group) for count, some in counted.items()}
            for group in (stars.REGULAR, stars.STAR)
        }
        for name, counted in stars.by_sources(rows, by).items()
    }
    return trends(panels, "number of sources", "train barrier (nats)")


def trends(
    panels: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]], across: str, label: str
) -> "Callable[[Figure], None]":
    """A panel for each name: by line the mean and the deviation of the values at each place, on a logarithmic axis.

    label: what all panels show, from 0 on; empty where each title says it.
    """

    def paint(figure: "Figure") -> None:
        grow(figure, 2.7)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (title, lines) in zip(axes, panels.items(), strict=True):
            for place, (name, values) in enumerate(lines.items()):
                color, marker, dash = GROUP_STYLES.get(name, LINE_STYLES[place])
                means = [statistics.fmean(each) for each in values.values()]
                errors = [statistics.stdev(each) if len(each) > 1 else 0.0 for each in values.values()]
                beside = [each * 1.03**place for each in values]
                axis.errorbar(
                    beside,
                    means,
                    errors,
                    fmt=dash,
                    marker=marker,
                    color=color,
                    capsize=2,
                    elinewidth=0.8,
                    label=name,
                )
            axis.set_xscale("log")
            if len(values) == 1:
                [only] = values
                axis.set_xlim(only / 2, only * 2)
            axis.set_xticks(list(values), [f"{each:g}" for each in values])
            axis.set_xticks([], minor=True)
            axis.set_title(title)
            axis.set_xlabel(across)
            if label:
                axis.set_ylim(bottom=0)
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
        axes[0].set_ylabel(label)

    return paint
