"""Figure of the metrics of averaged predictions against the number of models."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from starcli.evaluation.confidence import RANKING
from starcli.plots.style import BLACK, BLUE, RED, draw_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from starcli.averaging.bma import PosteriorRow


BMA_STYLES = {"star": (RED, "^", "-"), "ensemble": (BLUE, "o", "-"), "single": (BLACK, "X", ":")}
"""Colour, marker and dash of each posterior."""


BMA_NAMES = {"star": "star domain", "ensemble": "ensemble of the sources", "single": "single models"}
"""Name of each posterior in the legend."""


BMA_PANELS = (
    ("auroc_max_prob", "AUROC, maximum probability"),
    ("auroc_entropy", "AUROC, entropy"),
    ("ece", "expected calibration error"),
    ("nll", "negative log-likelihood (nats)"),
    ("accuracy", "accuracy"),
    ("aurc", "area under risk-coverage"),
)
"""Metric and title of each panel."""


def bma_figure(rows: Sequence["PosteriorRow"], kind: str) -> bytes:
    """Draw metrics of averaged predictions against the number of samples, with one-sigma bands over repeats.

    Single models are a horizontal line with its band. Like the paper's figure 4, with three more metrics. kind: png,
    svg or pdf.
    """
    decided = all(row.decided for row in rows)

    def paint(figure: "Figure", axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for one, (metric, title) in zip(axes.flat, BMA_PANELS, strict=True):
            for posterior, (colour, marker, dash) in BMA_STYLES.items():
                found = sorted((row for row in rows if row.posterior == posterior), key=lambda row: row.samples)
                if not found:
                    continue
                mean = np.array([row.mean[metric] for row in found])
                spread = np.array([row.std[metric] for row in found])
                label = BMA_NAMES[posterior]
                if posterior == "single":
                    one.axhline(mean[0], color=colour, linestyle=dash, label=label)
                    if math.isfinite(spread[0]):
                        one.axhspan(mean[0] - spread[0], mean[0] + spread[0], color=colour, alpha=0.08, linewidth=0)
                    continue
                x = [row.samples for row in found]
                one.plot(x, mean, color=colour, marker=marker, linestyle=dash, markeredgewidth=0, label=label)
                one.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)
            one.set_title(title if decided or metric not in RANKING else f"{title}\nnot decided: under 30 errors")
            one.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        for one in axes[-1]:
            one.set_xlabel("models averaged")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)

    return draw_figure(2, 3, (10.0, 5.6), paint, kind)
