"""Figure of the metrics of averaged predictions against the number of models."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from starcli.plots.look import Look
from starcli.plots.loss_words import loss_title
from starcli.plots.parts import (
    FEWEST_FOR_BAND,
    average_words,
    few_ticks,
    heading,
    legend_below,
    panel_columns,
    treatment_words,
)
from starcli.plots.reliability_figure import DIAGRAM_LABELS, Diagram, diagram_heights, paint_diagrams
from starcli.plots.rows import DrawnPosterior
from starcli.plots.ruler import Ruler
from starcli.plots.style import BLACK, BLUE, LINE_STYLES, RED, draw_figure, grow
from starcli.registry.tasks import METRICS, MULTI_LABEL, REGRESSION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BMA_STYLES = {"star": (RED, "^", "-"), "ensemble": (BLUE, "o", "--"), "single": (BLACK, "", ":")}
"""Colour, marker and dash of each posterior; of several files each has a colour."""

BMA_NAMES = {"star": "star domain", "ensemble": "ensemble", "single": "single models"}
"""Name of each posterior in the legend."""

BMA_PANELS = (
    ("accuracy", "accuracy (%)", False),
    ("nll", "loss (nats)", False),
    ("ece", "ECE", False),
    ("auroc_max_prob", "AUROC (max. prob.)", True),
    ("auroc_entropy", "AUROC (entropy)", True),
    ("aurc", "AURC", True),
    ("scaled.nll", "loss at T (nats)", False),
    ("scaled.ece", "ECE at T", False),
)
"""Metric and title of each panel, and whether it ranks errors, which few errors do not decide."""

_OTHERS = tuple((name, METRICS[name].title, False) for name in METRICS if name != "accuracy")
PANELS_OF = {task: (("loss", loss_title(task), False), *_OTHERS) for task in (REGRESSION, MULTI_LABEL)}
"""The panels of the other tasks, of which each has some."""


@dataclass(frozen=True)
class PosteriorCurve:
    """The rows of one posterior in one file, by number of models; the file is named where there are several."""

    file: str
    label: str
    posterior: str
    style: tuple[str, str, str]
    rows: Sequence[DrawnPosterior]


def bma_figure(results: Mapping[str, Sequence[DrawnPosterior]], kind: str, look: Look) -> bytes:
    """Draw metrics of averaged predictions against the number of models, and a reliability diagram of each posterior.

    Bands are one standard deviation over 3 repeats and more; single models are a horizontal line. Like the paper's
    figure 4, with three more metrics. A diagram is of the largest number of models, over all repeats together.
    """
    curves = _curves(results)
    rows = [row for curve in curves for row in curve.rows]

    drawn = [(curve, row, row.reliability) for curve in curves if (row := curve.rows[-1]).reliability is not None]

    def paint(figure: "Figure") -> None:
        splits = {f"{row.split} split" for row in rows if row.split}
        treatments = {treatment_words(row.alignment, row.renormalise) for row in rows} - {""}
        draws = dict.fromkeys(words for some in results.values() for words in average_words(some))
        heading(figure, look, [", ".join([*sorted(treatments | splits), *draws])])
        known = PANELS_OF.get(rows[0].task, BMA_PANELS)
        panels = [panel for panel in known if all(panel[0] in row.measures for row in rows)]
        columns = panel_columns(look, 3)
        metric_rows = math.ceil(len(panels) / columns)
        ratios = [0.62 * look.width / columns] * metric_rows + (
            diagram_heights(look, columns, len(drawn)) if drawn else []
        )
        axes = figure.subplots(len(ratios), columns, squeeze=False, height_ratios=ratios)
        grow(figure, sum(ratios) + 0.5 * len(axes))
        handles: Sequence[Any] = ()
        [undecided] = Ruler(look).within(["not decided"], 0.95 * look.width / columns - 0.35, [" (<30 errors)"])
        for number, (axis, (metric, title, ranks)) in enumerate(zip(axes.flat, panels, strict=False)):
            handles = _paint_metric(axis, curves, metric)
            decided = not ranks or all(row.decided for row in rows)
            axis.set_title(title if decided else f"{title}\n{undecided}")
            if number >= len(panels) - columns:
                axis.set_xlabel("models averaged")
        for axis in axes[:metric_rows].flat[len(panels) :]:
            axis.remove()
        diagrams = [
            Diagram(
                curve.file, curve.label + (f" ({row.samples})" if row.samples > 1 else ""), row.measures["ece"], bins
            )
            for curve, row, bins in drawn
        ]
        parts = paint_diagrams(axes[metric_rows:], diagrams, look) if drawn else []
        labels = [*(curve.label for curve in curves), *(DIAGRAM_LABELS if drawn else ())]
        files = [*(curve.file for curve in curves), *[""] * len(parts)]
        legend_below(figure, look, [*handles, *parts], labels, files=files)

    return draw_figure(paint, kind, look)


def _curves(results: Mapping[str, Sequence[DrawnPosterior]]) -> list[PosteriorCurve]:
    """A curve for each posterior of each file."""
    found = []
    for number, (file, rows) in enumerate(results.items()):
        for posterior, name in BMA_NAMES.items():
            mine = [row for row in rows if row.posterior == posterior and row.selected_on is None]
            mine.sort(key=lambda row: row.samples)
            colour, marker, dash = BMA_STYLES[posterior]
            if len(results) > 1:
                colour = LINE_STYLES[number % len(LINE_STYLES)][0]
            if mine:
                named = file if len(results) > 1 else ""
                found.append(PosteriorCurve(named, name, posterior, (colour, marker, dash), mine))
    return found


def _paint_metric(axis: "Axes", curves: Sequence[PosteriorCurve], metric: str) -> Sequence[Any]:
    """Draw one metric of all posteriors; return their curves."""
    factor, found = METRICS[metric].factor if metric in METRICS else 1, []
    for curve in curves:
        colour, marker, dash = curve.style
        mean = factor * np.array([row.measures[metric] for row in curve.rows])
        spread = factor * np.array([row.measures[f"{metric}_std"] for row in curve.rows])
        spread[[row.repeats < FEWEST_FOR_BAND for row in curve.rows]] = np.nan
        if curve.posterior == "single":
            found.append(axis.axhline(mean[0], color=colour, linestyle=dash))
            if math.isfinite(spread[0]):
                axis.axhspan(mean[0] - spread[0], mean[0] + spread[0], color=colour, alpha=0.08, linewidth=0)
            continue
        x = [row.samples for row in curve.rows]
        found += axis.plot(x, mean, color=colour, marker=marker, linestyle=dash, markeredgewidth=0)
        axis.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
    few_ticks(axis.xaxis, integer=True)
    few_ticks(axis.yaxis)
    axis.margins(x=0.06)
    return found
