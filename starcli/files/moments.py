"""Reading a file that another process may replace meanwhile: what is read is of one moment."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

from starcli.errors import StarcliError
from starcli.files.shards import files_of

_Result = TypeVar("_Result")

Moment: TypeAlias = list[tuple[int, int]] | None
"""Which files a checkpoint is read from, and when they were written; None where they are gone."""

TRIES = 5
"""Times that a file is read which changes each time, as one does that is being copied here."""


def times_written(path: Path) -> Moment:
    """The moment of a checkpoint as it is now."""
    try:
        return [(found.st_ino, found.st_mtime_ns) for found in (each.stat() for each in files_of(path))]
    except (OSError, StarcliError):  # who reads it says what is wrong
        return None


def of_one_moment(path: Path, read: Callable[[Moment], _Result]) -> _Result:
    """What `read` makes of the checkpoint at `path`, which it opens several times: its header, its weights.

    It is told the moment, and reads once more where the file was replaced meanwhile, whether the two together were an
    error or not.
    """
    for _ in range(TRIES - 1):
        before = times_written(path)
        try:
            found = read(before)
        except StarcliError:
            if times_written(path) == before:
                raise
            continue
        if times_written(path) == before:
            return found
    return read(times_written(path))
