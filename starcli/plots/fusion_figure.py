"""Figure of a fused model beside its sources, the best of them, their ensemble and their means."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starcli.errors import few
from starcli.plots.look import Look
from starcli.plots.loss_words import loss_title
from starcli.plots.parts import few_ticks, heading, legend_below, legend_line
from starcli.plots.rows import DrawnScores
from starcli.plots.ruler import Ruler
from starcli.plots.style import BLUE, GREEN, RED, draw_figure, grow
from starcli.registry.tasks import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPLIT_STYLES = {"train": (BLUE, "o"), "validation": (GREEN, "s"), "test": (RED, "^")}
"""Colour and marker of each split."""

STRIPE = "#F3F3F3"
"""Colour behind every second kind of model."""

FUSION_NAMES = {
    "fused": "fused",
    "best_source": "best source",
    "source": "sources",
    "ensemble": "ensemble",
    "mean": "mean",
    "aligned_mean": "aligned mean",
    "joint_mean": "joint mean",
}
"""Name of each kind of model, from above."""

NAMES_ROOM = 0.3
"""Room for the names beside the panels, at most, as a share of the width."""


def fusion_figure(results: Mapping[str, Sequence[DrawnScores]], kind: str, look: Look) -> bytes:
    """Draw loss and accuracy (or R2, F1) of each kind of model as points, one for each model and split.

    Models that were measured on the data of several sources have a place for each of these.

    results: the rows of each file, by its label.
    """
    rows = [row for found in results.values() for row in found]
    splits = [split for split in SPLIT_STYLES if any(row.split == split for row in rows)]
    chosen = sorted({row.selected_on for row in rows if row.selected_on})
    places = {
        (file, model, data): (name + (f", data of {few(data, 2)}" if data else ""), members)
        for file, found in results.items()
        for model, name in FUSION_NAMES.items()
        for data in dict.fromkeys(row.data_of for row in found)
        if (members := [row for row in found if (row.model, row.data_of) == (model, data)])
    }

    def paint(figure: "Figure") -> None:
        heading(figure, look, [f"best source: chosen on {' and '.join(chosen)}"] if chosen else [])
        axes = figure.subplots(1, 2, sharey=True)
        ruler, width = Ruler(look, look.small), (1 - NAMES_ROOM) * look.width / 2 - 0.15
        titles = {"loss": loss_title(rows[0].task), rows[0].metric: METRICS[rows[0].metric].title}
        below = {metric: Ruler(look).wrap(title, width) for metric, title in titles.items()}
        grow(figure, 0.3 * len(places) + 0.35 + Ruler(look).line * max(map(len, below.values())))
        for axis, (metric, lines) in zip(axes, below.items(), strict=True):
            for place, (_, members) in enumerate(places.values()):
                _paint_scores(axis, place, members, metric, splits)
            axis.set_xlabel("\n".join(lines))
            axis.margins(x=0.08)  # points are whole at the ends
            axis.grid(visible=False, axis="y")
            few_ticks(axis.xaxis, room=width, ruler=ruler)
        labels, room = [label for label, _ in places.values()], NAMES_ROOM * look.width
        if len(results) > 1:
            files = [file for file, _, _ in places]
            labels = ruler.after_files(files, labels, room - max(ruler.width(f": {label}") for label in labels))
        axes[0].set_yticks(range(len(places)), ruler.distinct(labels, room))
        axes[0].set_ylim(len(places) - 0.5, -0.5)
        legend_below(figure, look, [legend_line(**_look(split)) for split in splits], splits)

    return draw_figure(paint, kind, look)


def _paint_scores(axis: "Axes", place: int, rows: Sequence[DrawnScores], metric: str, splits: Sequence[str]) -> None:
    """Draw the points of a kind of model around its place on the y axis, a line of them for each split."""
    if place % 2:
        axis.axhspan(place - 0.5, place + 0.5, color=STRIPE, linewidth=0, zorder=0)
    for number, split in enumerate(splits):
        x = [row.loss if metric == "loss" else METRICS[metric].factor * row.value for row in rows if row.split == split]
        y = [place + 0.3 * (number - (len(splits) - 1) / 2)] * len(x)
        axis.plot(x, y, **_look(split))


def _look(split: str) -> dict[str, Any]:
    """How the points of a split are drawn."""
    colour, marker = SPLIT_STYLES[split]
    return {"color": colour, "marker": marker, "linestyle": "none", "markeredgewidth": 0, "markersize": 4.5}
