"""Cache of results between runs: JSON in the user's cache directory, under a hash of all that decides the result."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError
from starcli.files.write import write_atomically


def _cache_path(kind: str, key: str) -> Path:
    """Path of a cache entry, below $XDG_CACHE_HOME or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "starcli" / kind / f"{key}.json"


def recall(kind: str, key: str) -> Any:
    """JSON value that `remember` stored under the hash `key`, or None."""
    try:
        return json.loads(_cache_path(kind, key).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return None


def remember(kind: str, key: str, value: Any) -> None:
    """Store a JSON-able value other than None under the hash `key`; a cache that cannot be written is no error."""
    with contextlib.suppress(OSError, StarcliError, RuntimeError):
        path = _cache_path(kind, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(value, sort_keys=True).encode())


def cached(kind: str, key: str, compute: Callable[[], Any]) -> Any:
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
    return hashlib.sha256(text.encode()).hexdigest()
