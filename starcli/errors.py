"""Every error that a user can cause, and the words that help out of it."""

import difflib
from collections.abc import Iterable, Sequence

MAX_PROBLEMS, MAX_CHARACTERS = 200, 1000
"""What of an error is kept: a hostile file can be wrong in a million places."""


class StarcliError(Exception):
    """The input is wrong. `summary` is one line; `problems` are all its details, one line each.

    Both may quote a stranger's file: signs that would move a terminal's cursor are shown as escapes.
    """

    exit_status = 1

    def __init__(self, summary: str, problems: Iterable[str] = ()) -> None:
        lines = tuple(problems)
        self.summary = _plain(summary)
        self.problems = tuple(map(_plain, first_of(lines, MAX_PROBLEMS)))
        super().__init__("\n".join([self.summary, *(f"  {problem}" for problem in self.problems)]))


def _plain(line: str) -> str:
    """One line as it may be shown: not too long, control and bidirectional signs escaped."""
    if len(line) > MAX_CHARACTERS:
        line = line[:MAX_CHARACTERS] + "..."
    return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def first_of(lines: Sequence[str], most: int) -> list[str]:
    """Of many lines the first ones, and one that says how many more there are."""
    return [*lines[:most], *([f"and {len(lines) - most} more"] if len(lines) > most else [])]


def few(names: Sequence[str], most: int) -> str:
    """`a, b and 7 more`: of many names the first ones."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def short(value: object) -> str:
    """A value as one line of an error has room for it; of a hash the first 12 characters, of None the word nothing."""
    text = "nothing" if value is None else str(value)
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(name: str, known: Iterable[str]) -> str:
    """A clause that helps with a mistyped name: '; did you mean resnet?', or the list of what there is."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return "; did you mean " + " or ".join(close) + "?"
    return "; there is " + ", ".join(known) if known else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> StarcliError:
    """The error for a name that no registry or file has: `unknown("architecture", "resnt", [...])`."""
    return StarcliError(f"unknown {kind} {name!r}{suggestion(name, known)}")
