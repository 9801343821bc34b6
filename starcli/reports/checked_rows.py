"""Rows of saved results, checked before a page is made of them."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, model_validator

from starcli.plots.draw import DRAWN_KINDS, type_of
from starcli.plots.rows import Number, ResultRow, parse_rows
from starcli.registry.tasks import CLASSES


class SummedBarriers(BaseModel):
    """Barriers of a group of pairs on a split."""

    mean: Number
    std: Number
    interval: tuple[Number, Number] | None = None


class GroupRow(BaseModel):
    """A row that sums up a group of pairs."""

    group: str = ""
    alignment: str | None = None
    train: SummedBarriers | None = None
    validation: SummedBarriers | None = None
    test: SummedBarriers | None = None


class PairsRow(GroupRow):
    """The row with the barriers between all pairs of models, a matrix (models, models) for each split."""

    models: list[str]
    matrix: dict[str, list[list[Number]]]
    star_share: dict[str, Number] = {}

    @model_validator(mode="after")
    def _check(self) -> "PairsRow":
        count = len(self.models)
        if any({len(rows), *map(len, rows)} != {count} for rows in self.matrix.values()):
            raise ValueError(f"a matrix is not of the {count} models")
        return self


CHECKED: dict[str, type[BaseModel]] = {each.rows: each.row for each in DRAWN_KINDS.values()}
"""What rows of each type have, as far as figures are made of them."""


def check_rows(name: str, rows: Sequence[ResultRow]) -> None:
    """Raise StarcliError for a row that lacks what its figure or its table needs."""
    for kind, model in CHECKED.items():
        parse_rows(model, {name: [row for row in rows if type_of(row) == kind and not without_figure(row)]})
    summaries = [row for row in rows if type_of(row) == "summary"]
    parse_rows(GroupRow, {name: summaries})
    parse_rows(PairsRow, {name: [row for row in summaries if "matrix" in row]})


def without_figure(row: ResultRow) -> bool:
    """Whether a row is of `eval` for a task that has no confidence, and so no reliability diagram."""
    return type_of(row) == "eval" and row.get("task", CLASSES) != CLASSES


def pairs_row(rows: Sequence[Any]) -> PairsRow | None:
    """The first row that has the barriers between all pairs, if any has."""
    return next((PairsRow.model_validate(row) for row in rows if type_of(row) == "summary" and "matrix" in row), None)
