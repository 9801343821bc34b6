"""Standard output reserved for results: what a user's own network prints goes to stderr instead."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TextIO

_results: TextIO | None = None


def result_stream() -> TextIO:
    """Stream for results: the stdout that the program was started with."""
    return _results or sys.stdout


@contextlib.contextmanager
def reserved_for_results() -> Iterator[None]:
    """Context in which `print` writes to stderr, and only `result_stream` to stdout."""
    global _results
    before, _results = _results, sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _results = before
