"""Tables of results that have no figure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starcli.evaluation.result_table import at_key
from starcli.plots.draw import type_of
from starcli.reports.findings import SavedRun
from starcli.reports.html import Markup
from starcli.reports.section import Section, run_block, section_of
from starcli.reports.tables import TableColumn, is_figure, table

SHOWN_ELSEWHERE = {"barrier", "summary", "bma", "eval", "fuse", "epoch", "plane", "surface"}
"""Types of rows that have sections of their own."""

UNSHOWN = {"schema", "type", "command", "weights", "architecture", "fingerprint", "program"}
"""Keys of rows that say nothing beside the figures."""


def other_section(runs: Sequence[SavedRun]) -> Section | None:
    """A table for each type of rows without figures in each run."""
    blocks = [
        _rows(run, kind)
        for run in runs
        for kind in dict.fromkeys(str(type_of(row)) for row in run.rows if type_of(row) not in SHOWN_ELSEWHERE)
        if not (kind == "star" and run.of_type("barrier"))  # it stands with its barriers
    ]
    return section_of("other", "Other results", *blocks) if blocks else None


def _rows(run: SavedRun, kind: str) -> Markup:
    rows = run.of_type(kind)
    keys = dict.fromkeys(key for row in rows for key in _keys(row))
    columns = [TableColumn(key, key.replace("_", " ").replace(".", " "), _form(rows, key), common=True) for key in keys]
    return run_block(run, table(rows, columns, kind.replace("_", " ")))


def _keys(row: Mapping[str, Any], prefix: str = "", depth: int = 2) -> Iterator[str]:
    """Keys of a row, with those of tables in it, so many levels deep."""
    for key, value in row.items():
        if key in UNSHOWN or "." in key:
            continue
        if isinstance(value, Mapping):
            if depth:
                yield from _keys(value, f"{prefix}{key}.", depth - 1)
        elif not _is_long(value):
            yield prefix + key


def _is_long(value: Any) -> bool:
    """Whether a value is a list of numbers or of tables, which is no text for a cell."""
    return isinstance(value, list) and (len(value) > 12 or any(isinstance(each, list | dict) for each in value))


def _form(rows: Sequence[Mapping[str, Any]], key: str) -> str:
    """Form of a column by the name of what is in it."""
    values = [at_key(row, key) for row in rows]
    if not any(is_figure(value) for value in values):
        return "text"
    last = key.rpartition(".")[2]
    if last in ("accuracy", "share"):
        return "percent"
    if last in ("loss", "nll", "mean", "std", "min", "max"):
        return "loss"
    return "count" if all(value is None or isinstance(value, int) for value in values) and last != "seed" else "number"
