"""Results: a table on a terminal, JSON lines otherwise or with `--json` (DESIGN section 4)."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

SCHEMA = 1
"""Version of the JSON objects: keys may come, none is renamed."""

LOSS, SHARE = ".4f", ".2%"


@dataclass(frozen=True)
class Column:
    """A column of a table: the key of a row (dots go inside), its heading, and how a value is written."""

    key: str
    heading: str
    form: str = ""

    def text(self, row: Mapping[str, Any]) -> str:
        """The value of this column as people read it; what is missing is a dash."""
        value: Any = row
        for part in self.key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return "–"
        if self.form == "spark":
            from starcli.plots import sparkline

            return sparkline([math.nan if point is None else point for point in value])
        if self.form == "range":
            return " to ".join("–" if end is None or math.isnan(end) else format(end, LOSS) for end in value)
        if self.form and isinstance(value, int | float) and not isinstance(value, bool):
            return format(value, self.form)
        if isinstance(value, list | tuple):
            return ", ".join(map(str, value))
        return str(value)


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

    def __init__(self, *, json_lines: bool, to_stderr: bool = False) -> None:
        self._stream: TextIO = sys.stderr if to_stderr else sys.stdout
        self.as_json = json_lines or not self._stream.isatty()
        self._tables: dict[str, tuple[Sequence[Column], list[Mapping[str, Any]]]] = {}

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: object) -> None:
        self.show()

    def add(self, kind: str, row: Mapping[str, Any], columns: Sequence[Column]) -> None:
        """One result of type `kind`; `columns` are what people see of it (none: only programs do)."""
        if self.as_json:
            print(line(kind, row), file=self._stream, flush=True)
        elif columns:
            self._tables.setdefault(kind, (columns, []))[1].append(row)

    def text(self, text: str) -> None:
        """Words that only people need (a tree, an explanation), in place of a table."""
        if not self.as_json:
            self.show()
            print(text, file=self._stream, flush=True)

    def show(self) -> None:
        """Print the tables so far and forget them."""
        if not self._tables:
            return
        from rich.console import Console

        console = Console(file=self._stream, highlight=False)
        for columns, rows in self._tables.values():
            console.print(_table(columns, rows))
        self._tables.clear()


def _table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        number = bool(column.form) and column.form not in ("spark", "range")
        table.add_column(column.heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(column.text(row)) for column in columns))
    return table
