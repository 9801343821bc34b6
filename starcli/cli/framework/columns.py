"""Columns of tables: which value of a row people see, under which heading, and how it is written."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starcli.cli.framework.sparkline import sparkline
from starcli.evaluation.result_table import at_key
from starcli.registry.tasks import METRICS

LOSS, SHARE = ".4f", ".2%"
"""Formats of losses and of shares."""
SMALL, LOSS_OF_SMALL = 0.01, ".6f"
"""Losses of a column that are all below the first are written so, or barriers near 0 would be a digit, or none."""
MISSING = "–"
"""Text of a missing value."""
SPREAD = "±"
"""Heading of a standard deviation, that of the column before."""

NAME_ENDING = re.compile(r"((?<=\S)/model)?\.safetensors(\.index\.json)?(?!\S)")
"""What nearly all files end with, and is left out where people read their names."""

TEXT_FORMS = ("name", "words", "hash", "time", "spark", "range")
"""Forms of columns that are no numbers."""


@dataclass(frozen=True)
class Column:
    """Column of a table: key of a row (dots go inside), heading, and how a value is written.

    `form` is a number's format, or `name` (a file's, without `.safetensors`), `words` (`best_source` as `best source`),
    `hash` (its beginning), `time` (a day and a minute), `spark` (a curve, on one scale for all rows), `range` (two
    numbers). A `common` column whose value is the same in all rows becomes a line below the table. A column that has
    nothing but its `usual` text is left out.

    Where a terminal is too narrow, columns are left out and named below the table: `optional` ones first, the greatest
    number before all, the last of equal ones; then, from the last, those that are not `main`. What a command is about
    is `main`, and its first column: these stay.
    """

    key: str
    heading: str
    form: str = ""
    common: bool = False
    optional: int = 0
    main: bool = False
    usual: str | None = None

    @classmethod
    def of_metrics(
        cls, key: str, heading: str, *, spread: str = "", optional: int = 0, main: bool = False
    ) -> "tuple[Column, ...]":
        """A column for each metric of any task, named by `{}` in key and heading; those of other tasks stay empty.

        A second `{}` in the heading is how it worsens: drop, or rise. spread: the key of standard deviations, which
        then have a column behind each.
        """
        columns = []
        for name, each in METRICS.items():
            form = SHARE if each.share else LOSS
            words = heading.format(each.heading, each.worsening)
            columns.append(cls(key.format(name), words, form, optional=optional, main=main))
            if spread:
                columns.append(cls(spread.format(name), SPREAD, form, optional=optional))
        return tuple(columns)

    def value(self, row: Mapping[str, Any]) -> Any:
        """Value of a row under this column's key, or None."""
        return at_key(row, self.key)

    def texts(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Values of this column as people read them; what is missing is a dash."""
        values = [self.value(row) for row in rows]
        if self.form == "spark":
            return _curves(values)
        return [MISSING if _missing(value) else self._text(value) for value in values]

    def _text(self, value: Any) -> str:
        """Text of a value."""
        if self.form == "range":
            ends = [MISSING if _missing(end) else format(end, _loss_form(value)) for end in value]
            return MISSING if set(ends) == {MISSING} else " to ".join(ends)
        if self.is_number and isinstance(value, int | float) and not isinstance(value, bool):
            return format(value, self.form)
        if self.form == "hash":
            return str(value)[:12]
        if self.form == "time":
            return str(value)[:16].replace("T", " ")
        if self.form == "words":
            return str(value).replace("_", " ")
        words = [_word(each) for each in (value if isinstance(value, list | tuple) else [value])]
        return ", ".join(NAME_ENDING.sub("", word) if self.form == "name" else word for word in words)

    @property
    def is_number(self) -> bool:
        """Whether the values are numbers, which line up at the right."""
        return bool(self.form) and self.form not in TEXT_FORMS

    @property
    def unbreakable(self) -> bool:
        """Whether a value is useless in pieces, as numbers and curves are; text may go on in a second line."""
        return self.is_number or self.form in ("hash", "time", "spark", "range")


def columns_of_split(columns: Sequence[Column], split: str) -> tuple[Column, ...]:
    """Columns of the test split as those of `split`."""
    return tuple(
        replace(each, key=each.key.replace("test", split), heading=each.heading.replace("test", split))
        for each in columns
    )


def _word(value: object) -> str:
    """Value as people write it: yes for true, 0.1 for 0.10000000000000009."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _missing(value: object) -> bool:
    """Whether a value is missing."""
    return value is None or value in ([], ()) or (isinstance(value, float) and math.isnan(value))


def _curves(values: Sequence[Any]) -> list[str]:
    """Curves as blocks, all between the lowest and the highest value of any, so that rows can be compared."""
    curves = [[math.nan if point is None else point for point in value or ()] for value in values]
    finite = [point for curve in curves for point in curve if math.isfinite(point)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    return [sparkline(curve, low=low, high=high) if curve else MISSING for curve in curves]


@dataclass(frozen=True)
class TextTable:
    """A table as text, in whatever format it is written: the cells of each column, in order, and lines below them.

    Columns without any value, or with the usual one alone, are left out. Common values, and words in columns of
    numbers, are said once, in `below`.
    """

    cells: Mapping[Column, Sequence[str]]
    below: Sequence[str]

    @classmethod
    def of(cls, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> "TextTable":
        """Rows under these columns."""
        texts = {column: column.texts(rows) for column in _with_decimals(columns, rows)}
        words = _take_words(texts, rows)
        texts = {column: cells for column, cells in texts.items() if not set(cells) <= {MISSING, column.usual}}
        common = [column for column, cells in texts.items() if column.common and len(set(cells)) == 1]
        below = [*(f"{column.heading}: {texts[column][0]}" for column in common), *words]
        return cls({column: cells for column, cells in texts.items() if column not in common}, below)


def _with_decimals(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> list[Column]:
    """The columns, those of small losses with more decimals; a deviation has as many as its mean."""
    found: list[Column] = []
    for column in columns:
        if column.form == LOSS:
            form = found[-1].form if column.heading == SPREAD else _loss_form([column.value(row) for row in rows])
            column = replace(column, form=form)
        found.append(column)
    return found


def _loss_form(losses: Sequence[Any]) -> str:
    """Format of losses that are shown together."""
    largest = max((abs(loss) for loss in losses if isinstance(loss, int | float) and loss == loss), default=0.0)
    return LOSS_OF_SMALL if 0 < largest < SMALL else LOSS


def _take_words(texts: Mapping[Column, list[str]], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Put dashes where columns of numbers hold words; return lines that say these once, below the table."""
    found: dict[tuple[str, bool], list[str]] = {}
    for column, cells in texts.items():
        said = [value if isinstance(value := column.value(row), str) else None for row in rows]
        for word in dict.fromkeys(said if column.is_number else ()):
            if word is not None:
                found.setdefault((word, set(said) == {word}), []).append(column.heading)
        if column.is_number:
            cells[:] = [cell if word is None else MISSING for cell, word in zip(cells, said, strict=True)]
    return [
        f"{', '.join(names)}: {'' if all_rows else f'{MISSING} is '}{word}" for (word, all_rows), names in found.items()
    ]
