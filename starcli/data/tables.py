"""Tables of texts or numbers: files of columns, .csv, .tsv, .jsonl and .parquet."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from starcli.data.image_files import SPLIT_FOLDERS, split_called
from starcli.errors import StarcliError, few, first_line

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Suffixes of tables."""


def as_test_part(table: Path) -> str:
    """The name under which all of a table is what a model is measured on.

    >>> as_test_part(Path("new.parquet"))
    'test.parquet, alone in a folder'
    """
    return f"test{table.suffix}, alone in a folder"


def heading_hint(names: Sequence[str]) -> str | None:
    """What to say of a heading that is one name where several were expected, if another mark divides it.

    >>> heading_hint(["text;label"]), heading_hint(["text"])
    ("its heading is one name, with ';' in it: a .csv has commas, a .tsv tabs", None)
    """
    if len(names) != 1 or not (marks := [mark for mark in (";", "\t", "|") if mark in names[0]]):
        return None
    return f"its heading is one name, with {marks[0]!r} in it: a .csv has commas, a .tsv tabs"


def part_tables(folder: Path) -> dict[str, Path]:
    """The tables in a folder that are parts of one data set, by part, training first; called as in `SPLIT_FOLDERS`.

    A test part may be alone. Raises StarcliError for two tables of one part, and for a validation part without a
    training one.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        role = split_called(path.stem) if path.suffix in TABLE_SUFFIXES else None
        if role in found:
            raise StarcliError(f"{folder}: both {found[role].name} and {path.name} are there: which is {role}?")
        if role is not None:
            found[role] = path
    if "validation" in found and "train" not in found:
        raise StarcliError(f"{folder}: expected a training part, such as train.csv, beside {found['validation'].name}")
    return {role: found[role] for role in SPLIT_FOLDERS if role in found}


def read_columns(path: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> dict[str, list[str]]:
    """The columns that `choose` picks of those in a file, as words, by name.

    Raises StarcliError for a file that is no table of its suffix, and for values that are neither words nor numbers,
    with their row: 1 is the first one, and neither a heading nor empty lines are counted.
    """
    readers = {".csv": _separated, ".tsv": _separated, ".jsonl": _json_lines, ".parquet": _parquet}
    try:
        names, rows = readers[path.suffix](path)
        if not names:
            raise StarcliError(f"{path}: is empty, expected columns with names")
        wanted = list(choose(names))
        found: dict[str, list[str]] = {name: [] for name in wanted}
        flags: dict[str, bool] = {}
        for number, row in enumerate(rows, 1):
            for name in wanted:
                where = f"{path}: row {number}: {name}"
                found[name].append(_word(value := row.get(name), where))
                if flags.setdefault(name, isinstance(value, bool)) != isinstance(value, bool):
                    raise _among_others(value, where)
    except UnicodeDecodeError as error:
        way = f"iconv -f latin1 -t utf-8 {path.name} converts it, if it is of Latin-1"
        raise StarcliError(f"{path}: is no text in UTF-8", [first_line(error), way]) from error
    except (csv.Error, ValueError, RuntimeError, OSError) as error:  # JSON nested too deeply, and pyarrow's
        raise StarcliError(f"{path}: cannot be read as {path.suffix}", [first_line(error)]) from error
    if not found[wanted[0]]:
        raise StarcliError(f"{path}: no rows in it")
    return found


def column_names(path: Path) -> list[str]:
    """The names of the columns in a file. Raises StarcliError as `read_columns`."""
    found: list[str] = []

    def look(names: Sequence[str]) -> Sequence[str]:
        found.extend(names)
        return names[:1]

    read_columns(path, look)
    return found


Rows = tuple[Sequence[str], Iterator[Mapping[str, Any]]]
"""Names of columns, and rows by these names."""
LONGEST_FIELD = 1 << 30
"""Characters of a field of a .csv; Python's own limit, 131,072, is that of a long document."""


def _separated(path: Path) -> Rows:
    """Rows of a file with a heading, divided by commas, with quotes, or by tabs, where quotes are characters.

    A heading with a space after each comma, as `text, label`, says that none of these spaces counts.
    """
    form = {".csv": csv.excel, ".tsv": _Tabs}[path.suffix]

    def lines(form: type[csv.Dialect]) -> Iterator[list[str]]:
        csv.field_size_limit(LONGEST_FIELD)
        number = 0
        with path.open(encoding="utf-8-sig", newline="") as stream:
            try:
                for line in filter(None, csv.reader(stream, form, strict=True)):
                    yield line
                    number += 1
            except csv.Error as error:
                raise csv.Error(f"{f'row {number}' if number else 'the heading'}: {error}") from error

    def rows() -> Iterator[Mapping[str, Any]]:
        for number, line in enumerate(found, 1):
            if len(line) > len(heading):
                raise csv.Error(f"row {number} has more columns than the heading")
            yield dict(zip(heading, line, strict=False))

    found = lines(form)
    heading = next(found, [])
    if form is csv.excel and heading[1:] and all(name.startswith(" ") for name in heading[1:]):
        found = lines(_Spaced)
        heading = next(found)
    if len(set(heading)) < len(heading):
        raise StarcliError(f"{path}: two columns of one name: {few(heading, 10)}")
    return heading, rows()


class _Spaced(csv.excel):
    """Fields between commas, each with a space after it, which quotes may follow."""

    skipinitialspace = True


class _Tabs(csv.excel_tab):
    """Fields between tabs, as they are."""

    quoting = csv.QUOTE_NONE


def _json_lines(path: Path) -> Rows:
    """Rows of a file with a JSON object a line; columns are what any of them has."""

    def rows() -> Iterator[Mapping[str, Any]]:
        with path.open(encoding="utf-8-sig") as stream:
            for number, line in enumerate(filter(str.strip, stream), 1):
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"row {number}: {error.msg}, at character {error.pos + 1}") from error
                if not isinstance(row, dict):
                    raise StarcliError(f"{path}: row {number}: expected a JSON object")
                yield row

    return list(dict.fromkeys(name for row in rows() for name in row)), rows()


def _parquet(path: Path) -> Rows:
    """Rows of a file of pyarrow's."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise StarcliError(f"{path}: needs the package pyarrow; .csv, .tsv and .jsonl do not") from None
    file = parquet.ParquetFile(path)
    return file.schema_arrow.names, (row for batch in file.iter_batches() for row in batch.to_pylist())


def _word(value: Any, where: str) -> str:
    """A text, or a number as a word: whole ones without a point; true and false as Python and pandas write them."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise StarcliError(f"{where}: half of a surrogate pair, which is no character")
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else str(value)
    found = "nothing" if value is None else str(value) if isinstance(value, float) else type(value).__name__
    raise StarcliError(f"{where}: {found}, expected a text or a number")


def _among_others(value: Any, where: str) -> StarcliError:
    """The error for a column of true and false that has other values too."""
    expected = "a text or a number" if isinstance(value, bool) else "true or false"
    hint = "write 0 and 1, or words, in place of true and false"
    return StarcliError(f"{where}: {type(value).__name__}, expected {expected} as in the rows before", [hint])
