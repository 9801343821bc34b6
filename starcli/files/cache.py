"""Results kept between runs in the user's cache directory, as JSON under hashes of all that decides them."""

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
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "starcli" / kind / f"{key}.json"


def recall(kind: str, key: str) -> Any:
    """The JSON value that `remember` kept under the content hash `key`, or None."""
    try:
        return json.loads(_cache_path(kind, key).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return None


def remember(kind: str, key: str, value: Any) -> None:
    """Keep a JSON-able value, not None, under the content hash `key`; a cache that cannot be used is no error."""
    with contextlib.suppress(OSError, StarcliError, RuntimeError):
        path = _cache_path(kind, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(value, sort_keys=True).encode())


def cached(kind: str, key: str, compute: Callable[[], Any]) -> Any:
    """The JSON-able value of `compute`, kept under the content hash `key`."""
    value = recall(kind, key)
    if value is None:
        value = compute()
        remember(kind, key, value)
    return value


def hash_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: sorted keys, no spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
