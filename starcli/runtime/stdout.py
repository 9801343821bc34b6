"""Standard streams: stdout is reserved for results, and what a user's own network prints goes to stderr instead."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO, cast

_results: TextIO | None = None


def result_stream() -> TextIO:
    """Stream for results: the stdout that the program was started with."""
    return _results or sys.stdout


def prepare_streams() -> None:
    """Make the three streams usable however the program was started; for the program alone, not for the library.

    One that is closed (`2>&-`) becomes the null device, before the next file that is opened takes its number. Stdout is
    UTF-8 for programs, whatever the locale says, and keeps names that are not; a terminal gets `?` where it must.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    out = cast(io.TextIOWrapper, sys.stdout)
    if out.isatty():
        out.reconfigure(errors="replace")
    else:
        out.reconfigure(encoding="utf-8", errors="surrogateescape")


def to_nothing(stream: TextIO) -> None:
    """Redirect a stream that can no longer be written to the null device, so that no later flush of it fails again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


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
