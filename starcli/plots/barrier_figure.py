"""Figure of loss and accuracy along straight lines between models."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from starcli.errors import StarcliError
from starcli.plots.style import draw_figure, styles_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from starcli.barriers.line_barrier import Barrier


MOST_LINES = 30
"""Largest number of pairs that have lines of their own beneath their mean: more would be a second band."""


def _band(axes: "Axes", x: Any, values: Any, style: tuple[str, str, str], label: str) -> None:
    """Draw the mean over rows of `values` (curves, points), a band of one standard deviation, and a thin line each."""
    colour, marker, dash = style
    mean = values.mean(axis=0)
    if 1 < len(values) <= MOST_LINES:
        from matplotlib.collections import LineCollection

        lines = [np.column_stack([x, curve]) for curve in values]
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.7, alpha=0.4, zorder=1.5))
    axes.plot(x, mean, color=colour, marker=marker, linestyle=dash, markeredgewidth=0, label=label)
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.18, linewidth=0)


def barrier_figure(groups: Mapping[str, Sequence["Barrier"]], kind: str, *, splits: Sequence[str] = ()) -> bytes:
    """Draw loss and accuracy along paths: one mean curve with a one-sigma band for each group of barriers.

    Beneath the mean of up to 30 pairs each has a thin line of its own. One row a split, loss (nats) on the left and
    accuracy (%) on the right, as in the paper's figure 2: at t = 0 lies the first model of each pair (the star), at t =
    1 the second. splits: by default those that were measured. kind: png, svg or pdf. Raises StarcliError where there is
    no barrier.
    """
    groups = {name: found for name, found in groups.items() if found}
    if not groups:
        raise StarcliError("there is no barrier to draw")
    splits = splits or tuple(next(iter(groups.values()))[0].curves)
    styles = styles_of(list(groups))

    def paint(figure: "Figure", axes: Any) -> None:
        for row, split in zip(axes, splits, strict=True):
            for name, found in groups.items():
                t = np.array(found[0].t)
                curves = [barrier.curves[split] for barrier in found]
                pairs = f"{name} ({len(found)} {'pair' if len(found) == 1 else 'pairs'})"
                _band(row[0], t, np.array([curve.loss for curve in curves]), styles[name], pairs)
                _band(row[1], t, 100 * np.array([curve.accuracy for curve in curves]), styles[name], pairs)
            row[0].set_ylabel(f"{split} loss (nats)")
            row[1].set_ylabel(f"{split} accuracy (%)")
            for one in row:
                one.set_xlim(-0.02, 1.02)
                one.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1])
            row[0].set_ylim(bottom=-0.03 * row[0].get_ylim()[1])  # zero loss is on the axis, its markers in full
            row[1].set_ylim(top=min(100.5, row[1].get_ylim()[1]))
        for one in axes[-1]:
            one.set_xlabel("t, from the first model to the second")
        handles, labels = axes[0][0].get_legend_handles_labels()
        columns = min(len(labels), 2 if len(labels) > 3 else 3)
        sizes = [len(found) for found in groups.values()]
        thin = ", thin: each pair" if any(1 < size <= MOST_LINES for size in sizes) else ""
        title = f"mean and one standard deviation{thin}" if max(sizes) > 1 else None
        figure.legend(handles, labels, loc="outside upper center", ncols=columns, title=title, title_fontsize=8)

    return draw_figure(len(splits), 2, (8.0, 2.5 * len(splits) + 0.7), paint, kind)
