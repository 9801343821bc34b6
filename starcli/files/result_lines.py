"""Results that were saved: the JSON lines of commands, and the logs of runs."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.formats import other_kind
from starcli.files.names import is_standard_stream, shortest_names
from starcli.files.write import raise_os_error

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
    """The objects in a file of JSON lines; `-` is stdin.

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
    lines = content.splitlines()
    rows = [_row(name, number, line, len(lines)) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise StarcliError(f"{name}: holds no results")
    return rows


def _row(name: str, number: int, line: bytes, count: int) -> dict[str, Any]:
    """The object of one line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        if number == count and number > 1 and line.lstrip().startswith(b"{"):
            raise StarcliError(f"{name}: its last line is cut off (line {number})") from error
        raise StarcliError(f"{name}: line {number} is not JSON: results are saved with --json") from error
    if not isinstance(row, dict):
        raise StarcliError(f"{name}: line {number} is not a result of starcli")
    schema = row.get("schema", SCHEMA if "epoch" in row else None)  # a run's log has none
    if schema is None:
        raise StarcliError(f"{name}: line {number} is not a result of starcli: it has no schema")
    if schema != SCHEMA:
        raise StarcliError(f"{name}: line {number} has schema {schema}, this program reads {SCHEMA}")
    return row
