"""Tables of texts: files of columns, .csv, .tsv, .jsonl and .parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError, few, first_line

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Suffixes of files of texts."""


def read_columns(path: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> dict[str, list[str]]:
    """The columns that `choose` picks of those in a file, as words, by name.

    Raises StarcliError for a file that is no table of its suffix, and for values that are neither words nor numbers.
    """
    readers = {".csv": _separated, ".tsv": _separated, ".jsonl": _json_lines, ".parquet": _parquet}
    names, rows = readers[path.suffix](path)
    if not names:
        raise StarcliError(f"{path}: is empty, expected columns with names")
    wanted = list(choose(names))
    found: dict[str, list[str]] = {name: [] for name in wanted}
    try:
        for number, row in enumerate(rows, 1):
            for name in wanted:
                found[name].append(_word(row.get(name), f"{path}: row {number}: {name}"))
    except (csv.Error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StarcliError(f"{path}: cannot be read as {path.suffix}", [first_line(error)]) from error
    if not found[wanted[0]]:
        raise StarcliError(f"{path}: no rows in it")
    return found


Rows = tuple[Sequence[str], Iterator[Mapping[str, Any]]]
"""Names of columns, and rows by these names."""


def _separated(path: Path) -> Rows:
    """Rows of a file with a heading, divided by commas or tabs."""
    tabs = path.suffix == ".tsv"

    def rows() -> Iterator[Mapping[str, Any]]:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t" if tabs else ",", strict=True)
            for row in reader:
                if None in row:
                    raise csv.Error(f"line {reader.line_num} has more columns than the heading")
                yield row

    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            heading = next(csv.reader(stream, delimiter="\t" if tabs else ",", strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise StarcliError(f"{path}: cannot be read as {path.suffix}", [first_line(error)]) from error
    if len(set(heading)) < len(heading):
        raise StarcliError(f"{path}: two columns of one name: {few(heading, 10)}")
    return heading, rows()


def _json_lines(path: Path) -> Rows:
    """Rows of a file with a JSON object a line; the first one names the columns."""

    def rows() -> Iterator[Mapping[str, Any]]:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(filter(str.strip, stream), 1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise StarcliError(f"{path}: row {number}: expected a JSON object")
                yield row

    try:
        return list(next(rows(), {})), rows()
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StarcliError(f"{path}: cannot be read as .jsonl", [first_line(error)]) from error


def _parquet(path: Path) -> Rows:
    """Rows of a file of pyarrow's."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise StarcliError(f"{path}: needs the package pyarrow; .csv, .tsv and .jsonl do not") from None
    try:
        file = parquet.ParquetFile(path)
        batches = file.iter_batches()
        return file.schema_arrow.names, (row for batch in batches for row in batch.to_pylist())
    except Exception as error:  # pyarrow has errors of its own
        raise StarcliError(f"{path}: cannot be read as .parquet", [first_line(error)]) from error


def _word(value: Any, where: str) -> str:
    """A text, or a number as a word."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise StarcliError(f"{where}: {'nothing' if value is None else type(value).__name__}, expected a text")
