"""Every error that a user can cause, and the words that help out of it."""

import difflib
from collections.abc import Iterable


class StarcliError(Exception):
    """The input is wrong. `summary` is one line; `problems` are all its details, one line each."""

    exit_status = 1

    def __init__(self, summary: str, problems: Iterable[str] = ()) -> None:
        self.summary = summary
        self.problems = tuple(problems)
        super().__init__("\n".join([summary, *(f"  {problem}" for problem in self.problems)]))


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
