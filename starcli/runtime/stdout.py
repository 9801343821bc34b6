"""Standard output belongs to results: what a network of the user's own prints must not end up between them."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TextIO

_results: TextIO | None = None


def result_stream() -> TextIO:
    """Where results go: the stdout that the program was started with."""
    return _results or sys.stdout


@contextlib.contextmanager
def reserved_for_results() -> Iterator[None]:
    """Within, stdout is for `results`; everything else that is printed goes to stderr."""
    global _results
    before, _results = _results, sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _results = before
