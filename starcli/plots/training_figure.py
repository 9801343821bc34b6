"""Figure of training: loss and accuracy by epoch."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from starcli.plots.look import Look
from starcli.plots.parts import few_ticks, legend_below
from starcli.plots.rows import DrawnEpoch
from starcli.plots.ruler import Ruler
from starcli.plots.style import LINE_STYLES, draw_figure, grow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOG_RATIO = 100.0
"""Losses that differ by a larger factor have a logarithmic axis."""

MOST_MARKERS = 15
"""Curves of more epochs have no markers, which would hide them."""


def training_figure(results: Mapping[str, Sequence[DrawnEpoch]], kind: str, look: Look) -> bytes:
    """Draw the training loss and, where it is counted, accuracy of runs against epochs: a curve for each file."""
    losses = np.array([epoch.loss for epochs in results.values() for epoch in epochs])
    losses = losses[np.isfinite(losses)]
    logarithmic = len(losses) > 0 and losses.min() > 0 and losses.max() > LOG_RATIO * losses.min()

    counted = any(math.isfinite(epoch.accuracy) for epochs in results.values() for epoch in epochs)

    def paint(figure: "Figure") -> None:
        axes = figure.subplots(1, 2 if counted else 1, squeeze=False)[0]
        titles = ("training loss (nats)" if counted else "training loss", "training accuracy (%)")
        ruler = Ruler(look)
        grow(figure, max(0.36 * look.width + 0.2, max(map(ruler.width, titles)) + 3.2 * ruler.line))
        for number, epochs in enumerate(results.values()):
            colour, marker, dash = LINE_STYLES[number % len(LINE_STYLES)]
            x = [epoch.epoch for epoch in epochs]
            marker = marker if len(x) <= MOST_MARKERS else ""
            for axis, metric, factor in zip(axes, ("loss", "accuracy"), (1, 100), strict=False):
                y = [factor * getattr(epoch, metric) for epoch in epochs]
                axis.plot(x, y, color=colour, marker=marker, linestyle=dash, markeredgewidth=0)
        for axis, title in zip(axes, titles, strict=False):
            axis.set_ylabel(title)
        for axis in axes:
            axis.set_xlabel("epoch")
            few_ticks(axis.xaxis, integer=True)
            few_ticks(axis.yaxis)
        if logarithmic:
            axes[0].set_yscale("log")
            axes[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("e-0", "e−"))
            axes[0].yaxis.set_minor_formatter("")
        if len(results) > 1:
            legend_below(figure, look, axes[0].get_lines(), list(results))

    return draw_figure(paint, kind, look)
