"""Results of commands: a table on a terminal, JSON lines otherwise or with `--json`.

The keys: docs/architecture.md, JSON objects.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from starcli.cli.framework import tables
from starcli.cli.framework.tables import LOSS, SHARE, Column
from starcli.runtime import stdout

SCHEMA = 1
"""Version of the JSON objects: keys may be added, none is renamed."""


def jsonable(value: Any) -> Any:
    """Plain JSON value: containers become dictionaries and lists, non-finite numbers null.

    >>> jsonable({"t": (0.0, math.inf)})
    {'t': [0.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_line(kind: str, row: Mapping[str, Any]) -> str:
    """One JSON object in a line: schema and type first, then the row's own keys in their order.

    >>> json_line("eval", {"accuracy": 0.5})
    '{"schema": 1, "type": "eval", "accuracy": 0.5}'
    """
    return json.dumps({"schema": SCHEMA, "type": kind, **jsonable(row)}, ensure_ascii=False, allow_nan=False)


class Results:
    """Output of a command's rows: JSON lines are printed at once, tables when the command ends.

    Used as a context manager, so that rows measured before an error or an interruption are still shown.
    """

    def __init__(self, *, json_lines: bool, to_stderr: bool = False, silent: bool = False) -> None:
        """`json_lines` asks for JSON on a terminal too; `silent` prints nothing."""
        self._silent = silent
        self._stream: TextIO = sys.stderr if to_stderr else stdout.result_stream()
        self.as_json = json_lines or not self._stream.isatty()
        self._tables: dict[str, tuple[Sequence[Column], list[Mapping[str, Any]]]] = {}

    def __enter__(self) -> "Results":
        """Return this object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Print the tables."""
        self.show()

    def add(self, kind: str, row: Mapping[str, Any], columns: Sequence[Column]) -> None:
        """Add a row of type `kind`; `columns` are what people see of it (none: it is for programs only)."""
        if self._silent:
            return
        if self.as_json:
            print(json_line(kind, row), file=self._stream, flush=True)
        elif columns:
            self._tables.setdefault(kind, (columns, []))[1].append(row)

    def text(self, text: str) -> None:
        """Print text that only people need (a tree, an explanation), in place of a table."""
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
            tables.show_table(console, columns, rows)
        self._tables.clear()


__all__ = ["LOSS", "SCHEMA", "SHARE", "Column", "Results", "json_line", "jsonable"]
