"""Results that were saved: the JSON lines of commands, and the logs of runs."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.formats import other_kind
from starcli.files.names import is_standard_stream, shortest_names
from starcli.files.write import raise_os_error

_DECODER, _START = json.JSONDecoder(), re.compile(r"\S")

SCHEMA = 1
"""Version of the JSON objects: keys may be added, none is renamed."""


def read_results(paths: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """The objects in files of JSON lines, by the shortest names that tell the files apart, without their suffixes."""
    names = [
        name.removesuffix(".jsonl").removesuffix(".json").removesuffix(".metrics") for name in shortest_names(paths)
    ]
    if len(set(names)) < len(names):
        names = list(map(str, paths))
    return {name: read_result_lines(path) for name, path in zip(names, paths, strict=True)}


def read_result_lines(path: Path) -> list[dict[str, Any]]:
    """The objects in a file of JSON lines, also as jq lays them out; `-` is stdin.

    Raises StarcliError for what is no such file, a line that was cut off, objects of a schema that is not known.
    """
    try:
        content = sys.stdin.buffer.read() if is_standard_stream(path) else path.read_bytes()
    except OSError as error:
        raise_os_error(path, error, "read")
    name = "stdin" if is_standard_stream(path) else str(path)
    other = "a checkpoint" if content[8:10] in (b'{"', b"{}") else other_kind(content[:8])
    if other and not content.startswith(b"{"):
        raise StarcliError(f"{name}: is {other}: results are saved with --json")
    rows = [_row(name, line, value) for line, value in _values(name, content)]
    if not rows:
        raise StarcliError(f"{name}: holds no results")
    return rows


def _values(name: str, content: bytes) -> Iterator[tuple[int, Any]]:
    """Each value with the line that it begins in: one a line, or spread over lines or in an array, as jq writes them.

    >>> list(_values("stdin", b'{"a": 1} [{"b": 2}, {"c": 3}]'))
    [(1, {'a': 1}), (1, {'b': 2}), (1, {'c': 3})]
    """
    at, line, text = 0, 1, _text(content)
    while start := _START.search(text, at):
        line += text.count("\n", at, start.start())
        try:
            value, at = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError) as error:
            if line > 1 and start[0] == "{" and "\n" not in text[start.start() :].rstrip():
                raise StarcliError(f"{name}: its last line is cut off (line {line})") from error
            raise StarcliError(f"{name}: line {line} is not JSON: results are saved with --json") from error
        yield from ((line, each) for each in (value if isinstance(value, list) else [value]))
        line += text.count("\n", start.start(), at)


def _text(content: bytes) -> str:
    """What a file says, in whatever encoding of Unicode; bytes that are none become characters that are not JSON."""
    return content.decode(json.detect_encoding(content), "replace")


def _row(name: str, line: int, row: Any) -> dict[str, Any]:
    """The object that begins in a line."""
    if not isinstance(row, dict):
        raise StarcliError(f"{name}: line {line} is not a result of starcli")
    schema = row.get("schema", SCHEMA if "epoch" in row else None)  # a run's log has none
    if schema is None:
        raise StarcliError(f"{name}: line {line} is not a result of starcli: it has no schema")
    if schema != SCHEMA:
        raise StarcliError(f"{name}: line {line} has schema {schema}, this program reads {SCHEMA}")
    return row
