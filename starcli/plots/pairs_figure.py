"""Figure of the barriers between all pairs of models."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from starcli.plots.style import draw_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pairs_figure(barriers: Tensor, names: Sequence[str], kind: str, *, split: str = "train") -> bytes:
    r"""Draw the barriers between all pairs of models (n, n), nats, as a heat map.

    Numbers are written in for up to 12 models. kind: png, svg or pdf.

    >>> import torch
    >>> picture = pairs_figure(torch.tensor([[0.0, 0.4], [0.4, 0.0]]), ["a", "b"], "png")
    >>> picture[:4]
    b'\x89PNG'
    """
    values = barriers.double().numpy()

    def paint(figure: "Figure", axes: Any) -> None:
        one = axes[0][0]
        shown = np.ma.masked_invalid(np.where(np.eye(len(values), dtype=bool), np.nan, values))
        image = one.imshow(shown, cmap="cividis", vmin=0)
        one.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
        one.set_yticks(range(len(names)), names)
        one.grid(False)
        one.spines[:].set_visible(False)
        one.tick_params(length=0)
        if len(names) <= 12:
            middle = float(shown.max()) / 2 if shown.count() else 0.0
            for (i, j), value in np.ndenumerate(shown.filled(np.nan)):
                if not math.isnan(value):
                    colour = "white" if value < middle else "black"
                    one.text(j, i, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
        figure.colorbar(image, ax=one, label=f"{split} loss barrier (nats)", shrink=0.85).outline.set_visible(False)

    side = min(2.6 + 0.5 * len(names), 14.0)
    return draw_figure(1, 1, (side + 0.9, side), paint, kind)
