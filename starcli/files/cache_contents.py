"""Contents of the cache, and their removal."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

from starcli.files import leftovers
from starcli.files.cache import CacheKind, cache_directory

_ENTRY = re.compile(r"[0-9a-f]{64}\.json")
_UNFINISHED = re.compile(rf"\.({_ENTRY.pattern})\.[0-9a-f]+-\d+\.part")


@dataclass(frozen=True)
class KeptResults:
    """Results of one kind in the cache: their number, their size, and when the oldest and newest were written."""

    kind: str
    files: int
    bytes: int
    oldest: datetime
    newest: datetime

    def to_dict(self) -> dict[str, Any]:
        """Plain values; times as in ISO 8601, to the second, in the local time zone."""
        times = {name: getattr(self, name).isoformat(timespec="seconds") for name in ("oldest", "newest")}
        return {"place": str(cache_directory() / self.kind), **vars(self), **times}


def cache_contents() -> list[KeptResults]:
    """Contents of the cache by kind; kinds of which it has nothing are left out."""
    return [found for kind, paths in _entries() if (found := _summary(kind, paths))]


def clear_cache() -> list[KeptResults]:
    """Remove what the cache has and return what was removed; files that are not the program's own stay.

    Other processes may go on meanwhile: what they look for is missing, what they write is kept.
    """
    removed = []
    for kind, paths in _entries():
        found = _summary(kind, paths, remove=True)
        removed += [found] if found else []
        directory = cache_directory() / kind
        for unfinished in directory.glob(".*.part"):
            if entry := _UNFINISHED.fullmatch(unfinished.name):
                leftovers.sweep(directory / entry[1])
        with contextlib.suppress(OSError):  # something lies there
            directory.rmdir()
    with contextlib.suppress(OSError):
        cache_directory().rmdir()
    return removed


def _entries() -> Iterator[tuple[CacheKind, list[Path]]]:
    """Files of each kind, of which the directory is a real one."""
    for kind in get_args(CacheKind):
        directory = cache_directory() / kind
        if directory.is_dir() and not directory.is_symlink():
            yield kind, [path for path in sorted(directory.iterdir()) if _ENTRY.fullmatch(path.name)]


def _summary(kind: CacheKind, paths: list[Path], *, remove: bool = False) -> KeptResults | None:
    """Sum of `paths`, which are removed meanwhile where that is asked for; None for none."""
    sizes, times = [], []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            status = path.lstat()
            if remove:
                path.unlink()
            sizes.append(status.st_size)
            times.append(datetime.fromtimestamp(status.st_mtime).astimezone())
    return KeptResults(kind, len(sizes), sum(sizes), min(times), max(times)) if sizes else None
