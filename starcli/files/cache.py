"""Cache of results between runs: JSON in the user's cache directory, under a hash of all that decides the result."""

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from starcli.errors import StarcliError
from starcli.files.write import write_atomically
from starcli.runtime.rehearsal import present_rehearsal

CacheKind = Literal["averages", "barriers", "bma", "kinds", "lessons", "matches", "planes", "proofs", "specs"]
"""What is kept, and the name of its directory.

`bma` has the parts of `averages` that are not yet measured, sources and repeats; `lessons` what `matches` that are not
yet learned have reached.
"""


LONG_WORK: tuple[CacheKind, ...] = ("barriers", "bma", "matches", "planes")
"""Measurements and learned matches: what takes long; proofs and the like do not count. Averages are made of `bma`."""


GENERATION = "14"
"""Raised with any change by which something that is kept would come out otherwise: what was kept before is not found.

Keys have the program's version; this is for what changes between two versions.
"""


@dataclass(eq=False)
class CacheUse:
    """Whether the cache is used, and how many results of each kind it had, lacked and was given."""

    on: bool = True
    found: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)

    @property
    def keeps(self) -> bool:
        """Whether measurements or matches were found or kept, which need not be made again."""
        return any(self.found[kind] or self.kept[kind] for kind in (*LONG_WORK, "lessons"))

    def counts(self) -> tuple[int, int]:
        """Number of measurements and learned matches that were found, and of all; proofs and the like are neither."""
        found = sum(self.found[kind] for kind in (*LONG_WORK, "averages"))
        return found, found + sum(self.missing[kind] for kind in LONG_WORK)


_own: ContextVar[CacheUse | None] = ContextVar("a context's own use of the cache", default=None)
_usual = CacheUse()  # counts that nobody reads
_blocks: list[CacheUse] = []  # open blocks of `no_cache`, in whichever thread


@contextlib.contextmanager
def using_cache(*, on: bool = True) -> Iterator[CacheUse]:
    """Context in which the cache is used, or neither read nor written; yields the count of what it had."""
    use = CacheUse(on)
    token = _own.set(use)
    try:
        yield use
    finally:
        _own.reset(token)


def _use() -> CacheUse:
    """How the cache is used here: as the innermost block around says, else as any block of `no_cache` that is open."""
    own, others = _own.get(), tuple(_blocks)
    return own or (others[0] if others else _usual)


def found_so_far(*kinds: CacheKind) -> int:
    """Number of entries of these kinds that were found since the cache is used."""
    return sum(_use().found[kind] for kind in kinds)


@contextlib.contextmanager
def no_cache() -> Iterator[CacheUse]:
    """Context in which nothing is read from the cache or kept there: everything is proved and measured anew.

    That holds for all threads while the block is open: for those of a pool that the block hands work to as well.

    >>> with no_cache():
    ...     cached("proofs", hash_json("never kept"), lambda: 1), recall("proofs", hash_json("never kept"))
    (1, None)
    """
    with using_cache(on=False) as use:
        _blocks.append(use)
        try:
            yield use
        finally:
            _blocks.remove(use)


def cache_directory() -> Path:
    """`starcli` below $XDG_CACHE_HOME, else below ~/.cache; it need not exist. StarcliError where there is no home.

    A relative $XDG_CACHE_HOME is ignored, as the XDG Base Directory Specification has it: each working directory would
    get a cache of its own.
    """
    said = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (said if said.is_absolute() else Path.home() / ".cache") / "starcli"
    except RuntimeError as error:  # $HOME is not set, and the system does not know the user, as in containers
        raise StarcliError("nothing is kept: set HOME, or XDG_CACHE_HOME to a directory for it") from error


def _cache_path(kind: CacheKind, key: str) -> Path:
    """Path of a cache entry."""
    return cache_directory() / kind / f"{hash_json([GENERATION, key])}.json"


def _sealed(kind: CacheKind, key: str, text: bytes) -> bytes:
    """An entry: the text of a value in JSON, and the hash of it and of its place, by which any damage is seen."""
    digest = hashlib.sha256(f"{kind} {key} ".encode() + text).hexdigest()
    return b'{"sha256": "%b", "value": %b}' % (digest.encode(), text)


def _unsealed(kind: CacheKind, key: str, content: bytes) -> Any:
    """The value of an entry; None where it is not just as `_sealed` made it for this place."""
    text = content[len(_sealed(kind, key, b"")) - 1 : -1]
    return json.loads(text) if content == _sealed(kind, key, text) else None


def recall(kind: CacheKind, key: str) -> Any:
    """JSON value that `remember` stored under the hash `key`, or None; a damaged entry counts as none."""
    use = _use()
    if not use.on:
        return None
    try:
        value = _unsealed(kind, key, _cache_path(kind, key).read_bytes())
    except (OSError, StarcliError):
        value = None
    (use.missing if value is None else use.found)[kind] += 1
    return value


def remember(kind: CacheKind, key: str, value: Any) -> None:
    """Store a JSON-able value other than None under the hash `key`; a cache that cannot be written is no error.

    Keys of dictionaries keep their order: that of columns and of keys in results follows from it.
    """
    if not _use().on or present_rehearsal() is not None:
        return
    with contextlib.suppress(OSError, StarcliError):
        write_atomically(_cache_path(kind, key), _sealed(kind, key, json.dumps(value).encode()))
        _use().kept[kind] += 1


def forget(kind: CacheKind, key: str) -> None:
    """Remove what `remember` stored under the hash `key`, if there is something."""
    if _use().on and present_rehearsal() is None:
        with contextlib.suppress(OSError, StarcliError):
            _cache_path(kind, key).unlink(missing_ok=True)


def cached(kind: CacheKind, key: str, compute: Callable[[], Any]) -> Any:
    """Value of `compute()`, JSON-able, computed only where the cache has none under the hash `key`."""
    value = recall(kind, key)
    if value is None:
        value = compute()
        remember(kind, key, value)
    return value


def hash_json(value: Any) -> str:
    """SHA-256 of `value` as canonical JSON: sorted keys, no spaces.

    >>> hash_json({"b": 1, "a": 2}) == hash_json({"a": 2, "b": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()  # names of files may be any bytes
