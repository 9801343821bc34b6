"""Contents of a report: checkpoints, saved results and logs, found in directories or named one by one."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from starcli.checkpoints.lineage import Description, describe
from starcli.checkpoints.metadata import Metadata
from starcli.errors import StarcliError
from starcli.files.names import shortest_names
from starcli.files.result_lines import read_result_lines
from starcli.plots.draw import type_of
from starcli.plots.rows import ResultRow
from starcli.reports.checked_rows import check_rows
from starcli.reports.lineage import natural

CHECKPOINTS = (".safetensors", ".safetensors.index.json")
"""Ends of names of checkpoints."""

RESULTS = (".jsonl", ".json")
"""Ends of names of files of results."""

LOG = ".metrics.jsonl"
"""End of the name of a run's log."""

SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
"""A part of a checkpoint, which stands for nothing alone."""


@dataclass(frozen=True)
class SavedRun:
    """Results that one command printed with --json, or the log of one run; `line`: what was typed, or empty."""

    name: str
    rows: Sequence[ResultRow]
    line: str = ""

    def of_type(self, kind: str) -> list[ResultRow]:
        """The rows of one type."""
        return [row for row in self.rows if type_of(row) == kind]


@dataclass(frozen=True)
class Findings:
    """All that was found: checkpoints and runs by their names, and lines that say what was left out and why."""

    title: str
    checkpoints: Sequence[tuple[str, Description]]
    runs: Sequence[SavedRun]
    logs: Sequence[SavedRun]
    left_out: Sequence[str]


def is_point(metadata: Metadata) -> bool:
    """Whether a model is no solution but a point between or around others, as `interpolate` writes them."""
    return "interpolate" in (metadata.recipe or {})


def file_kind(metadata: Metadata) -> str:
    """Kind of a file, in words."""
    return "point" if is_point(metadata) else "fused model" if metadata.kind == "fused" else metadata.kind


def find(paths: Sequence[Path], title: str | None = None) -> Findings:
    """Read files, and what lies in directories and those below them.

    Raises StarcliError where a file that is named cannot be read, or nothing is found; what a directory has that is not
    ours is left out, and files that look like ours and cannot be read are named.
    """
    named = [path for path in paths if not path.is_dir()]
    files = list(dict.fromkeys([*named, *(file for path in paths if path.is_dir() for file in _inside(path))]))
    names = dict(zip(files, _names(paths, files), strict=True))
    checkpoints: list[tuple[str, Description]] = []
    runs: list[SavedRun] = []
    logs: list[SavedRun] = []
    left_out: list[str] = []
    for file in files:
        name = names[file]
        try:
            if file.name.endswith(CHECKPOINTS):
                checkpoints.append((name, describe(file)))
                continue
            rows = read_result_lines(file)
            check_rows(name, rows)
            if file.name.endswith(LOG):
                logs.append(SavedRun(name.removesuffix(LOG), rows))
            else:
                runs += _split(name, rows)
        except StarcliError as error:
            if file in named:
                raise
            if file.name.endswith((*CHECKPOINTS, ".jsonl")):  # a .json may be anything
                left_out.append(error.summary.replace(str(file), name, 1))
    if not (checkpoints or runs or logs):
        raise StarcliError(f"{', '.join(map(str, paths))}: no checkpoint and no saved results to report", left_out[:20])
    return Findings(title or _title(paths), checkpoints, runs, logs, left_out)


def _inside(directory: Path) -> Iterator[Path]:
    """Files that may be ours in a directory and those below it; what is hidden is not looked at."""
    try:
        found = sorted(directory.iterdir(), key=lambda path: (path.is_dir(), natural(path.name)))
    except OSError as error:
        raise StarcliError(f"{directory}: cannot read: {error.strerror or error}") from error
    for path in found:
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _inside(path)
        elif path.is_file() and path.name.endswith((*CHECKPOINTS, *RESULTS)) and not SHARD.search(path.name):
            yield path


def _names(paths: Sequence[Path], files: Sequence[Path]) -> list[str]:
    """What files are called: the way from the one directory, else the fewest last parts that tell them apart."""
    if len(paths) == 1 and paths[0].is_dir():
        return [file.relative_to(paths[0]).as_posix() for file in files]
    return shortest_names(files)


def _title(paths: Sequence[Path]) -> str:
    """Name of the one directory; of several files nothing but that."""
    directories = [path for path in paths if path.is_dir()]
    return directories[0].resolve().name or "/" if len(directories) == 1 else "starcli report"


def _split(name: str, rows: Sequence[ResultRow]) -> Iterator[SavedRun]:
    """The runs of commands whose results were saved in one file: each begins where a row has its `command`."""
    label = name.removesuffix(".jsonl").removesuffix(".json")
    starts = [number for number, row in enumerate(rows) if "command" in row]
    ends = [*starts, len(rows)] if starts[:1] == [0] else [0, *starts, len(rows)]
    for number, (start, end) in enumerate(itertools.pairwise(ends), start=1):
        line = rows[start].get("command", "")
        which = f"{label} ({number})" if len(ends) > 2 else label
        yield SavedRun(which, rows[start:end], line if isinstance(line, str) else "")
