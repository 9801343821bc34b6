"""Figures: the formats, the same bytes for the same numbers, nothing about when they were made; and the small curve."""

import math
import re
from pathlib import Path

import pytest

from starcli.averaging.bma import METRICS, PosteriorRow
from starcli.barriers.line_barrier import Barrier, Curve, grid
from starcli.barriers.pairs import matrix, pairs_of
from starcli.cli.framework.sparkline import sparkline
from starcli.errors import StarcliError
from starcli.evaluation.confidence import Reliability
from starcli.evaluation.evaluator import Scores
from starcli.plots.barrier_figure import barrier_figure
from starcli.plots.bma_figure import bma_figure
from starcli.plots.pairs_figure import pairs_figure
from starcli.plots.style import check_format

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def curve(height: float) -> Barrier:
    ts = grid(5)
    found = Curve.of(ts, [Scores(0.1 + 4 * height * t * (1 - t), 0.99 - height * t * (1 - t), 10) for t in ts])
    return Barrier(ts, {"train": found, "test": found})


GROUPS = {"regular-regular": [curve(0.9), curve(1.1)], "star-held-out": [curve(0.4)], "mine": [curve(0.2)]}


def rows(errors: float) -> list[PosteriorRow]:
    mean = {**dict.fromkeys(METRICS, 0.5), "errors": errors}
    nothing = dict.fromkeys(METRICS, math.nan)  # one repeat
    bins = Reliability((None, 0.8), (None, 0.5), (0, 10))
    return [
        PosteriorRow("single", 1, 3, mean, dict.fromkeys(METRICS, 0.1), bins),
        *(PosteriorRow("star", k, 1, mean, nothing, bins) for k in (2, 3)),
        PosteriorRow("ensemble", 2, 1, mean, nothing, bins),
    ]


@pytest.mark.parametrize("kind", MAGIC)
def test_the_same_numbers_give_the_same_bytes(kind: str) -> None:
    first, second = (barrier_figure(GROUPS, kind) for _ in range(2))
    assert first == second
    assert first.startswith(MAGIC[kind])
    assert not re.search(rb"CreationDate|<dc:date>|Software|Matplotlib", first)


def test_every_group_is_in_the_legend() -> None:
    from matplotlib.axes import Axes

    labels: list[str] = []
    original = Axes.plot

    def spy(self: Axes, *args: object, **kwargs: object) -> object:
        labels.append(str(kwargs.get("label")))
        return original(self, *args, **kwargs)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Axes, "plot", spy)
        barrier_figure(GROUPS, "svg", splits=("train",))
    assert set(labels) == {"regular-regular (2 pairs)", "star-held-out (1 pair)", "mine (1 pair)"}


@pytest.mark.parametrize(("pairs", "lines"), [(1, 0), (3, 3), (30, 30), (31, 0)])
def test_each_pair_has_a_thin_line(pairs: int, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection

    drawn: list[int] = []
    original = Axes.add_collection

    def spy(self: Axes, collection: object, *args: object, **kwargs: object) -> object:
        if isinstance(collection, LineCollection):
            drawn.append(len(collection.get_segments()))
        return original(self, collection, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "add_collection", spy)
    barrier_figure({"mine": [curve(0.1 * (1 + i)) for i in range(pairs)]}, "svg", splits=("train",))
    assert drawn == ([lines, lines] if lines else [])


def test_matplotlib_keeps_its_settings() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    barrier_figure(GROUPS, "svg", splits=("train",))
    assert dict(matplotlib.rcParams) == before


def test_pairs_and_averages_are_drawn() -> None:
    pairs = pairs_of(3)
    found = matrix(3, pairs, [0.1, math.nan, 0.5])
    assert pairs_figure(found, ["a", "b", "c"], "png").startswith(MAGIC["png"])
    assert pairs_figure(matrix(2, [], []), ["a", "b"], "svg").startswith(MAGIC["svg"])
    decided, undecided = (bma_figure(rows(errors), "svg") for errors in (40, 20))
    assert decided != undecided


def test_suffixes_choose_the_format() -> None:
    assert check_format(Path("a/figure.PNG")) == "png"
    with pytest.raises(StarcliError, match="cannot draw"):
        check_format(Path("figure.pgn"))
    with pytest.raises(StarcliError, match="no barrier"):
        barrier_figure({"regular-regular": []}, "png")
    with pytest.raises(StarcliError, match="jpg"):
        barrier_figure(GROUPS, "jpg")


def test_small_curves() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([2.0, 2.0]) == "▁▁"
    assert sparkline([0.0, math.nan, 1.0, math.inf]) == "▁?█?"
    assert sparkline([0.0, 0.5, 9.0], low=0.0, high=1.0) == "▁▅█"
    assert sparkline([]) == ""
