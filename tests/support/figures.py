"""Rows of results to draw, made from formulas, and what was drawn of them."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from starcli.barriers.line_barrier import Barrier, Curve, grid
from starcli.barriers.pairs import pairs_of
from starcli.cli.framework.results import json_line
from starcli.evaluation.scores import Scores

Row = dict[str, Any]

METRICS = ("accuracy", "nll", "ece", "auroc_max_prob", "auroc_entropy", "aurc")


def hill(height: float, *, base: float = 0.1, accuracy: float = 0.99) -> Barrier:
    """A line whose loss rises by `height` above `base` in its middle."""
    ts = grid(5)
    scores = [
        Scores(base + 4 * height * t * (1 - t), {"accuracy": accuracy - min(height, 0.9) * t * (1 - t)}, 10) for t in ts
    ]
    return Barrier(ts, {"train": Curve.of(ts, scores), "test": Curve.of(ts, scores)})


def line(a: str, b: str, height: float = 0.5, *, alignment: str = "weight, 10 restarts", **more: Any) -> Row:
    """A row of barrier; `more` has its group, or the base and accuracy of `hill`."""
    group = {"group": more.pop("group")} if "group" in more else {}
    return {"type": "barrier", "a": a, "b": b, **group, "alignment": alignment, **hill(height, **more).to_dict()}


def all_pairs(names: list[str]) -> list[Row]:
    """The rows of all pairs, and the summary that says so."""
    rows = [line(names[i], names[j], 0.1 * (1 + i + j)) for i, j in pairs_of(len(names))]
    return [*rows, {"type": "summary", "group": "all pairs", "models": names, "matrix": {}}]


def star_rows(held_out: int = 3) -> list[Row]:
    """The groups of barrier --star."""
    return [
        *(line("0", "9", 2.0, group="regular-regular (unaligned)", alignment="none") for _ in range(4)),
        *(line("0", "9", 0.5 + 0.1 * i, group="regular-regular") for i in range(4)),
        *(line("star", str(i), 0.1 + 0.01 * i, group="star-source") for i in range(3)),
        *(line("star", str(i), 0.1, group="star-source (training)", alignment="training's own") for i in range(3)),
        *(line("star", str(i), 0.2 + 0.02 * i, group="star-held-out") for i in range(held_out)),
    ]


def plane_row(
    names: list[str],
    *,
    size: int = 5,
    wide: float = 10.0,
    worst: float = 3.0,
    kind: str = "plane",
    distance: float = 0.0,
) -> Row:
    """A row of plane: a bowl around its first model, and the way of a curve, `distance` off the plane."""
    places = [(wide * n / len(names), 2.0 * n) for n in range(len(names))]
    x, y = ([low + i * (high - low) / (size - 1) for i in range(size)] for low, high in ((-1.0, wide), (-1.0, 5.0)))
    loss = [[1e-3 + worst * (i * i + j * j) / 2 / (size - 1) ** 2 for i in range(size)] for j in range(size)]
    accuracy = [[1 - min(each / 5, 0.9) for each in line] for line in loss]
    values = {split: {"loss": loss, "accuracy": accuracy} for split in ("train", "test")}
    about = {"alignment": "weight, 10 restarts"} if kind == "plane" else {"radius": 1.0}
    curve = {"form": "bezier", "bends": names[-1:], "x": [0.0, 1.0, wide], "y": [0.0, 2.0, 0.0], "distance": distance}
    way = {"curve": curve} if kind == "plane" else {}
    return {"type": kind, "models": names, "places": places, "x": x, "y": y, **values, **about, **way}


def bins(count: int = 15) -> dict[str, list[Any]]:
    """A reliability diagram whose first bins are empty."""
    counts = [0 if i < 3 else 1 + 10 * i * i for i in range(count)]
    confidence = [(i + 0.5) / count if n else None for i, n in enumerate(counts)]
    return {"count": counts, "confidence": confidence, "accuracy": [c and 0.9 * c for c in confidence]}


def model_rows(names: list[str], **more: Any) -> list[Row]:
    """Rows of eval."""
    return [{"type": "eval", "model": n, "split": "test", "ece": 0.0123, "reliability": bins(), **more} for n in names]


def posterior_rows(repeats: int = 3, *, decided: bool = True) -> list[Row]:
    """Rows of bma."""

    def row(posterior: str, samples: int, value: float) -> Row:
        figures = dict.fromkeys(METRICS, value) | {
            f"{metric}_std": 0.01 if repeats > 1 else math.nan for metric in METRICS
        }
        facts = {"posterior": posterior, "samples": samples, "repeats": repeats, "decided": decided, "split": "test"}
        return {"type": "bma", **facts, **figures, "alignment": "weight, 1 restart", "reliability": bins()}

    rows = [row("star", k, 0.9 + 0.01 * k) for k in (2, 3, 4)] + [row("ensemble", k, 0.9) for k in (2, 3)]
    return [row("single", 1, 0.85), *rows, {**row("star", 3, 0.5), "selected_on": "validation"}]


def posterior_rows_at(temperature: float) -> list[Row]:
    """Rows of bma with points drawn by another law, and metrics at a temperature."""
    at = {"temperature": temperature, "fitted_on": "validation", "sampling": "beta:5,1", "in_turn": True}
    figures = {"nll": 0.3, "nll_std": 0.01, "ece": 0.02, "ece_std": 0.01}
    return [row | at | {"scaled": figures} for row in posterior_rows()]


def fusion_rows(splits: tuple[str, ...] = ("train", "validation", "test")) -> list[Row]:
    """Rows of fuse, of three sources."""
    kinds = ("fused", "source", "source", "source", "best_source", "ensemble", "mean", "aligned_mean", "joint_mean")
    return [
        {
            "type": "fuse",
            "model": kind,
            "name": str(n),
            "split": split,
            "loss": 0.1 * (n + place),
            "accuracy": 1 - 0.05 * n,
        }
        | ({"selected_on": "validation"} if kind == "best_source" else {})
        for n, kind in enumerate(kinds)
        for place, split in enumerate(splits, start=1)
    ]


def epochs(count: int, *, first: float = 2.0) -> list[Row]:
    """Lines of a run's log."""
    return [{"epoch": e, "loss": first / 2**e, "accuracy": 1 - 0.9 / e, "lr": 0.1} for e in range(1, count + 1)]


def saved(rows: list[Row]) -> str:
    """Rows as JSON lines, as the commands print them."""
    return "".join((json.dumps(row) if "epoch" in row else json_line(row["type"], row)) + "\n" for row in rows)


@contextmanager
def drawn_figures() -> Iterator[list[Figure]]:
    """The figures that would be saved within, laid out as they would be drawn, but not drawn."""
    found: list[Figure] = []

    def save(self: Figure, *_: Any, **__: Any) -> None:
        FigureCanvasAgg(self)
        engine = self.get_layout_engine()
        assert engine is not None
        engine.execute(self)  # here, with the settings of the figure
        for axes in self.axes:
            axes.get_tightbbox()  # moves titles and labels to where they are drawn
        found.append(self)

    with mock.patch.object(Figure, "savefig", save):
        yield found


def drawn_parts(figure: Figure, renderer: Any) -> dict[str, Any]:
    """Where each part of a figure lies, in pixels: panels, their titles, labels and ticks, legends, the heading."""
    parts = {f"legend {n}": legend.get_window_extent(renderer) for n, legend in enumerate(figure.legends)}
    if figure._suptitle is not None:
        parts["heading"] = figure._suptitle.get_window_extent(renderer)
    for n, axes in enumerate(figure.axes):
        parts[f"panel {n}"] = axes.get_window_extent(renderer)
        texts = {"title": axes.title, **{f"{side.axis_name} label": side.label for side in (axes.xaxis, axes.yaxis)}}
        for side in (axes.xaxis, axes.yaxis):
            low, high = sorted(side.get_view_interval())
            ticks = [tick for tick in side.get_major_ticks() if low - 1e-9 <= tick.get_loc() <= high + 1e-9]
            texts |= {
                f"{side.axis_name} tick {i}, {j}": t
                for i, k in enumerate(ticks)
                for j, t in enumerate((k.label1, k.label2))
            }
        parts |= {
            f"{name} of panel {n}": text.get_window_extent(renderer)
            for name, text in texts.items()
            if text.get_text() and text.get_visible()
        }
    return parts
