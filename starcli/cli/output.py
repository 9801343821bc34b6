"""Results: a table on a terminal, JSON lines otherwise or with `--json` (DESIGN section 4)."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from starcli import streams

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SCHEMA = 1
"""Version of the JSON objects: keys may come, none is renamed."""

LOSS, SHARE = ".4f", ".2%"
MISSING = "–"
WORDS = ("name", "hash", "spark", "range")
"""Forms of columns that are no numbers."""


def _word(value: object) -> str:
    """As people write it: yes for true, 0.1 for 0.10000000000000009."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Column:
    """A column of a table: the key of a row (dots go inside), its heading, and how a value is written.

    `form` is a number's format, or `name` (a file's, without `.safetensors`), `hash` (its beginning), `spark` (a
    curve), `range` (two numbers).
    A `common` column whose value is the same in all rows becomes a line below the table; an `optional` one is left out
    where the terminal is too narrow, the last one first.
    """

    key: str
    heading: str
    form: str = ""
    common: bool = False
    optional: bool = False

    def text(self, row: Mapping[str, Any]) -> str:
        """The value of this column as people read it; what is missing is a dash."""
        value: Any = row
        for part in self.key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None or value in ([], ()) or (isinstance(value, float) and math.isnan(value)):
            return MISSING
        if self.form == "spark":
            from starcli.plots import sparkline

            return sparkline([math.nan if point is None else point for point in value])
        if self.form == "range":
            return " to ".join(MISSING if end is None or math.isnan(end) else format(end, LOSS) for end in value)
        if self.is_number and isinstance(value, int | float) and not isinstance(value, bool):
            return format(value, self.form)
        if self.form == "hash":
            return str(value)[:12]
        words = [_word(each) for each in (value if isinstance(value, list | tuple) else [value])]
        return ", ".join(word.removesuffix(".safetensors") if self.form == "name" else word for word in words)

    @property
    def is_number(self) -> bool:
        """Whether its values line up at the right."""
        return bool(self.form) and self.form not in WORDS


def jsonable(value: Any) -> Any:
    """`value` with containers made plain and non-finite numbers made null."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def line(kind: str, row: Mapping[str, Any]) -> str:
    """One JSON object: schema and type first, then the row's own keys in their order."""
    return json.dumps({"schema": SCHEMA, "type": kind, **jsonable(row)}, ensure_ascii=False, allow_nan=False)


class Results:
    """Takes rows as they come: JSON lines leave at once, tables when the command ends.

    Used as a context manager, so that rows measured before an error or an interruption are still shown.
    """

    def __init__(self, *, json_lines: bool, to_stderr: bool = False, silent: bool = False) -> None:
        self._silent = silent
        self._stream: TextIO = sys.stderr if to_stderr else streams.results()
        self.as_json = json_lines or not self._stream.isatty()
        self._tables: dict[str, tuple[Sequence[Column], list[Mapping[str, Any]]]] = {}

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        self.show()

    def add(self, kind: str, row: Mapping[str, Any], columns: Sequence[Column]) -> None:
        """One result of type `kind`; `columns` are what people see of it (none: only programs do)."""
        if self._silent:
            return
        if self.as_json:
            print(line(kind, row), file=self._stream, flush=True)
        elif columns:
            self._tables.setdefault(kind, (columns, []))[1].append(row)

    def text(self, text: str) -> None:
        """Words that only people need (a tree, an explanation), in place of a table."""
        if not (self.as_json or self._silent):
            self.show()
            print(text, file=self._stream, flush=True)

    def show(self) -> None:
        """Print the tables so far and forget them."""
        if not self._tables:
            return
        from rich.console import Console

        console = Console(file=self._stream, highlight=False)
        for columns, rows in self._tables.values():
            _print(console, list(columns), rows)
        self._tables.clear()


def _print(console: "Console", columns: list[Column], rows: Sequence[Mapping[str, Any]]) -> None:
    """A table as wide as the terminal allows, then what all its rows have in common."""
    texts = {column: [column.text(row) for row in rows] for column in columns}
    common = [column for column in columns if column.common and len(set(texts[column])) == 1]
    empty = [column for column in columns if set(texts[column]) == {MISSING}]
    columns = [column for column in columns if column not in common and column not in empty]
    common = [column for column in common if column not in empty]
    while True:
        table = _table(columns, texts)
        needed = table.__rich_measure__(console, console.options.update(max_width=10_000)).maximum
        surplus = [column for column in columns if column.optional]
        if needed <= console.width or not surplus:
            break
        columns.remove(surplus[-1])
    console.print(table)
    for column in common:
        console.print(f" {column.heading}: {texts[column][0]}", markup=False, style="dim")
    if common:
        console.print()


def _table(columns: Sequence[Column], texts: Mapping[Column, Sequence[str]]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, header_style="bold")
    for column in columns:
        # numbers and curves are useless in pieces, words may go on in a second line
        whole = column.is_number or column.form in ("hash", "spark", "range")
        table.add_column(
            column.heading, justify="right" if column.is_number else "left", no_wrap=whole, overflow="fold"
        )
    for cells in zip(*(texts[column] for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table
