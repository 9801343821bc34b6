"""Results of commands: a table on a terminal, JSON lines otherwise, or the form that `--format` says.

The keys: docs/contracts.md, JSON objects.
"""

import io
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from starcli.cli.framework.columns import LOSS, SHARE, Column, TextTable
from starcli.cli.framework.csv_text import csv_text
from starcli.cli.framework.pasted_tables import latex_comment, latex_table, markdown_block, markdown_table
from starcli.cli.framework.tables import show_table
from starcli.files.result_lines import SCHEMA
from starcli.runtime import stdout

RESULT_FORMATS = ("table", "json", "csv", "latex", "markdown")
"""Forms of results."""

ANY_WIDTH = 10_000
"""Columns of a page that nothing is left out for, where no terminal says how wide it is."""


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
    text = json.dumps({"schema": SCHEMA, "type": kind, **jsonable(row)}, ensure_ascii=False, allow_nan=False)
    # bytes of a file's name that are no UTF-8 would make the line unreadable
    return re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


class Results:
    """Output of a command's rows: JSON lines are printed at once, all else when the command ends.

    Used as a context manager, so that rows measured before an error or an interruption are still shown.
    """

    def __init__(
        self,
        form: str | None = None,
        *,
        to_stderr: bool = False,
        silent: bool = False,
        beside_files: bool = False,
        line: str = "",
    ) -> None:
        """`form` is one of RESULT_FORMATS, by default a table on a terminal and else JSON; `silent` prints nothing.

        beside_files: the command makes files too, and goes on when nobody reads its results any more (`| head -1`).
        line: what was typed, which the first JSON object has as its `command`.
        """
        self._silent, self._beside_files = silent, beside_files
        self._origin = {"command": line} if line else {}
        self._stream: TextIO = sys.stderr if to_stderr else stdout.result_stream()
        self.form = form or ("table" if self._stream.isatty() else "json")
        self._tables: dict[str, tuple[Sequence[Column], list[Mapping[str, Any]]]] = {}
        self._rows: list[Mapping[str, Any]] = []

    @property
    def for_programs(self) -> bool:
        """Whether a program reads the rows, with all their keys, and not people."""
        return self.form in ("json", "csv")

    def __enter__(self) -> "Results":
        """Return this object."""
        return self

    def __exit__(self, *_: object) -> None:
        """Print what is not printed yet."""
        self.show()

    def add(self, kind: str, row: Mapping[str, Any], columns: Sequence[Column]) -> None:
        """Add a row of type `kind`; `columns` are what people see of it (none: it is for programs only)."""
        if self._silent:
            return
        if self.form == "json":
            self._print(json_line(kind, {**row, **self._origin}))
            self._origin = {}
        elif self.form == "csv":
            self._rows.append({"type": kind, **jsonable(row)})
        elif columns:
            self._tables.setdefault(kind, (columns, []))[1].append(row)

    def text(self, text: str) -> None:
        """Print text that only people need (a tree, an explanation), in place of a table."""
        if self.for_programs or self._silent:
            return
        self.show()
        wrapped = {"latex": latex_comment, "markdown": markdown_block}.get(self.form)
        self._print(wrapped(text) if wrapped else text)

    def show(self) -> None:
        """Print the tables so far and forget them."""
        if self._rows:
            self._print(csv_text(self._rows), end="")
        tables = [TextTable.of(columns, rows) for columns, rows in self._tables.values()]
        self._rows.clear()
        self._tables.clear()
        if self.form == "table":
            self._show_all(tables)
        else:
            write = latex_table if self.form == "latex" else markdown_table
            for table in tables:
                self._print(write(table), end="\n\n")

    def _show_all(self, tables: Sequence[TextTable]) -> None:
        """Print tables that fit a terminal, or what $COLUMNS says, or are as wide as they have to be."""
        if not tables:
            return
        from rich.console import Console

        terminal = self._stream.isatty()
        said = os.environ.get("COLUMNS", "")
        width = None if terminal else int(said) if said.isdecimal() and int(said) else ANY_WIDTH
        drawn = io.StringIO()
        console = Console(file=drawn, highlight=False, force_terminal=terminal, width=width)
        for table in tables:
            show_table(console, table)
        self._print(drawn.getvalue(), end="")

    def _print(self, text: str, end: str = "\n") -> None:
        try:
            # one string, so that a line is one write, which other processes that append to the file do not tear apart
            self._stream.write(text + end)
            self._stream.flush()
        except BrokenPipeError:
            if not self._beside_files:
                raise
            self._silent = True
            stdout.to_nothing(self._stream)


__all__ = ["LOSS", "RESULT_FORMATS", "SHARE", "Column", "Results", "json_line", "jsonable"]
