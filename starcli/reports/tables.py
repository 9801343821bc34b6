"""Tables of rows, which sort on the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starcli.evaluation.result_table import at_key
from starcli.reports.html import Child, Markup, element, together

NO_VALUE = "–"
"""What stands in a cell without a value."""

FORMS = {"loss": ".4f", "percent": ".2%", "count": ",d", "number": ".4g"}
"""Formats of numbers by what they are; all else is text."""

LONG = 26
"""Text of more letters than this may go on in a second line of its cell."""

SMALL_LOSS, NO_LOSS = 1e-3, 1e-12
"""Losses below the first are written with their leading digits; below the second there is only rounding."""


@dataclass(frozen=True)
class TableColumn:
    """A column: the key in a row (`train.loss` is nested), its heading, a form of FORMS, `hash` or `text`.

    common: a value that all rows share is said once, below the table.
    """

    key: str
    heading: str
    form: str = "text"
    common: bool = False

    @property
    def is_number(self) -> bool:
        """Whether its cells are numbers."""
        return self.form in FORMS


def is_figure(value: Any) -> bool:
    """Whether a value is a finite number."""
    if isinstance(value, int):
        return not isinstance(value, bool) and value.bit_length() < 1000
    return isinstance(value, float) and math.isfinite(value)


def words(value: Any, form: str = "text") -> str:
    """A value as people read it.

    >>> words(0.98333, "percent"), words(0.00012, "loss"), words(1234567, "count"), words(None), words(["a", True])
    ('98.33%', '1.2e-04', '1,234,567', '–', 'a, yes')
    """
    if is_figure(value) and form in FORMS:
        if form == "loss" and NO_LOSS < abs(value) < SMALL_LOSS:
            return f"{value:.1e}"
        return format(int(value), ",d") if form == "count" and value == int(value) else format(value, _spread(form))
    if value is None or value in ("", [], {}) or (isinstance(value, float) and math.isnan(value)):
        return NO_VALUE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(each)}" for name, each in value.items() if each not in (None, "", [], {}))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(words, value))
    return str(value)[:12] if form == "hash" else str(value)


def _spread(form: str) -> str:
    """The format of a number; a count that is a mean has two decimals."""
    return ".2f" if form == "count" else FORMS[form]


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[TableColumn], caption: str) -> Markup:
    """Rows under those columns that have any value, and below them what all rows share."""
    cells = {column: {words(at_key(row, column.key), column.form) for row in rows} for column in columns}
    known = [column for column in columns if cells[column] != {NO_VALUE}]
    shared = [column for column in known if column.common and len(rows) > 1 and len(cells[column]) == 1]
    shown = [column for column in known if column not in shared]
    head = element("tr", *(_heading(column) for column in shown))
    body = (
        element("tr", *(_cell(column, at_key(row, column.key), n) for n, column in enumerate(shown))) for row in rows
    )
    inside = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    scrolled = element("div", inside, class_="scroll", tabindex=0, role="region", aria_label=caption)
    said = ", ".join(f"{column.heading} {min(cells[column])}" for column in shared)
    return together(scrolled, said and element("p", f"All: {said}.", class_="note below"))


def _heading(column: TableColumn) -> Markup:
    return element("th", column.heading, scope="col", class_="number" if column.is_number else None)


def _cell(column: TableColumn, value: Any, place: int) -> Markup:
    """A cell; the first of a row heads it. A number sorts by its value, not by its digits."""
    said: Child = words(value, column.form)
    if column.form == "hash" and said != NO_VALUE:
        said = element("code", said, title=str(value))
    attributes: dict[str, Child] = {"class_": "number"} if column.is_number else {}
    if is_figure(value):
        attributes["data_value"] = repr(value)
    elif len(str(said)) > LONG and column.form == "text":
        attributes["class_"] = "long"
    return element("td", said, **attributes) if place else element("th", said, scope="row", **attributes)
