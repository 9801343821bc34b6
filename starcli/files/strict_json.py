"""Reading JSON from strangers: nothing that another reader could take otherwise."""

import json
from pathlib import Path
from typing import Any, NoReturn

LARGEST_JSON = 8 * 2**20
"""Largest file in bytes that is read: the index of 10,000 tensors needs 1 MB."""


def _pairs_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON object whose names must differ."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_number(word: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python's json reads."""
    raise ValueError(f"{word} is no JSON")


def strict_json(text: str) -> Any:
    """Parse JSON strictly: no name twice, no NaN or Infinity, no lone surrogates.

    Raises ValueError or RecursionError.
    """
    content = json.loads(text, object_pairs_hook=_pairs_once, parse_constant=_no_number)
    if "\\ud" in text.lower():  # the only way in for half a character
        _check_words(content)
    return content


def read_strict_json(path: Path) -> Any:
    """The value in a file, by `strict_json`. Raises OSError, and ValueError for a file that is too large, too."""
    if path.stat().st_size > LARGEST_JSON:
        raise ValueError("it is longer than 8 MiB")
    return strict_json(path.read_text(encoding="utf-8"))


def _check_words(value: Any) -> None:
    """Refuse lone surrogates, which JSON can escape and which can be neither printed nor hashed."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, child in value.items():
            key.encode()
            _check_words(child)
    elif isinstance(value, list):
        for child in value:
            _check_words(child)
