"""Checks of a command's words, made before it begins: marks of options, and what runs them."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starcli.errors import StarcliError


@dataclass(frozen=True)
class Checked:
    """Mark in an option's annotation: `check` raises StarcliError for a wrong value, before the command begins."""

    check: Callable[[Any], None]
    writes: bool = False
    """Whether the value is a file to write, which may be none that another option names."""


def check_values(options: Sequence[inspect.Parameter], values: Mapping[str, Any]) -> None:
    """Run the checks of all options that have a value; one StarcliError tells all that is wrong."""
    marks = [(values[option.name], mark) for option in options for mark in _marks_of(option)]
    marks = [(value, mark) for value, mark in marks if value is not None]
    errors: list[StarcliError] = []
    for value, mark in marks:
        try:
            mark.check(value)
        except StarcliError as error:
            if str(error) not in map(str, errors):  # two outputs in one directory that may not be written to
                errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        lines = [line for error in errors for line in (error.summary, *error.problems)]
        raise StarcliError("the command cannot be done", lines)
    for path in (Path(value) for value, mark in marks if mark.writes):
        if path.is_file() and any(map(path.samefile, _files_named(values.values()))):
            raise StarcliError(f"{path}: is an input; a file is never written over one")


def _marks_of(option: inspect.Parameter) -> list[Checked]:
    return [mark for mark in getattr(option.annotation, "__metadata__", ()) if isinstance(mark, Checked)]


def _files_named(values: Iterable[Any]) -> Iterator[Path]:
    """The files that words of options name: `x.npz`, `table:x.csv`, `net.py:build`."""
    for word in (each for each in values if isinstance(each, str)):
        for name in {word, word.partition(":")[2], word.rpartition(":")[0]}:
            if Path(name).is_file():
                yield Path(name)
