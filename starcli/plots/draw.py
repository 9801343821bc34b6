"""The figure of results, whatever they are of: rows in, bytes of a file out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from starcli.errors import StarcliError
from starcli.plots.barrier_figure import barrier_figure
from starcli.plots.bma_figure import bma_figure
from starcli.plots.fusion_figure import fusion_figure
from starcli.plots.look import Look
from starcli.plots.pairs_figure import pairs_figure
from starcli.plots.plane_figure import plane_figure
from starcli.plots.reliability_figure import reliability_figure
from starcli.plots.rows import (
    DrawnEpoch,
    DrawnLine,
    DrawnModel,
    DrawnPlane,
    DrawnPosterior,
    DrawnScores,
    ResultRow,
    parse_rows,
)
from starcli.plots.training_figure import training_figure


@dataclass(frozen=True)
class DrawnKind:
    """How one kind of results is drawn: the type of its rows, what is read of a row, and the function of the figure.

    place: where in the figure of a run a row is, where each has a place of its own there.
    """

    rows: str
    row: type[BaseModel]
    figure: Callable[[Mapping[str, Sequence[Any]], str, Look], bytes]
    place: Callable[[Any], object] = id


DRAWN_KINDS = {
    "barrier": DrawnKind("barrier", DrawnLine, barrier_figure),
    "barrier --all-pairs": DrawnKind("barrier", DrawnLine, pairs_figure, lambda row: frozenset((row.a, row.b))),
    "bma": DrawnKind("bma", DrawnPosterior, bma_figure, lambda row: (row.posterior, row.samples, row.selected_on)),
    "eval": DrawnKind("eval", DrawnModel, reliability_figure),
    "fuse": DrawnKind("fuse", DrawnScores, fusion_figure),
    "plane": DrawnKind("plane", DrawnPlane, plane_figure),
    "surface": DrawnKind("surface", DrawnPlane, plane_figure),
    "training": DrawnKind("epoch", DrawnEpoch, training_figure),
}
"""By the words of the command that makes such results; `training` is a run's log, whose rows have no type."""

BESIDE = {"summary", "star"}
"""Rows that sum up barriers, which are drawn themselves."""


def draw(results: Mapping[str, Sequence[ResultRow]], kind: str, look: Look | None = None) -> bytes:
    """Draw the results of one or several files, by their labels, as one figure; return its bytes.

    kind: png, svg or pdf. Raises StarcliError where there is nothing to draw, rows of which there is no figure, rows of
    different kinds, several runs in a file of which each has all of a figure, or a row that lacks something.
    """
    drawn = DRAWN_KINDS[name := kind_of(results)]
    rows = {file: [row for row in found if type_of(row) == drawn.rows] for file, found in results.items()}
    parsed = parse_rows(drawn.row, rows)
    for file, found in parsed.items():
        # groups of the lines of several reports have the same names; a star that was trained has an output
        reports = sum(type_of(row) == "star" and "output" not in row for row in results[file])
        if len({drawn.place(row) for row in found}) < len(found) or reports > 1:
            where = f"{file}: " if file else ""
            raise StarcliError(f"{where}several runs of {name} in one file, which a figure would mix: a file for each")
    return drawn.figure(parsed, kind, look or Look())


def kind_of(results: Mapping[str, Sequence[ResultRow]]) -> str:
    """Which of DRAWN_KINDS all results are; raises StarcliError as `draw` does."""
    kinds = {file: _kind_of(file, rows) for file, rows in results.items()}
    if len(set(kinds.values())) > 1:
        raise StarcliError("one figure shows one kind of results", [f"{file}: {name}" for file, name in kinds.items()])
    if not kinds:
        raise StarcliError("there is nothing to draw")
    return next(iter(kinds.values()))


def type_of(row: ResultRow) -> str | None:
    """Type of a row; that of a line of a run's log is `epoch`."""
    found = row.get("type", "epoch" if "epoch" in row else None)
    return None if found is None else str(found)


def _kind_of(file: str, rows: Sequence[ResultRow]) -> str:
    """Which of DRAWN_KINDS the rows of a file are; StarcliError for none or several."""
    where = f"{file}: " if file else ""
    types = {type_of(row) for row in rows}
    # a model that was trained to be a star has a row of that type too, but no barriers
    drawn = sorted({each.rows for each in DRAWN_KINDS.values()} & types)
    if len(drawn) == 1 and types - {drawn[0]} <= (BESIDE if drawn[0] == "barrier" else set()):
        if drawn == ["barrier"] and any("matrix" in row for row in rows):
            return "barrier --all-pairs"
        return "training" if drawn == ["epoch"] else drawn[0]
    if not rows:
        raise StarcliError(f"{where}there is nothing to draw")
    known = f"there are figures of {', '.join(DRAWN_KINDS)}"
    found = ", ".join(sorted(str(name) for name in types))
    if len(drawn) > 1:
        raise StarcliError(f"{where}one figure shows one kind of results, found {found}")
    raise StarcliError(f"{where}no figure shows results of type {found}; {known}")
