"""Errors that a user can cause, and helpers that word them."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

WRONG_INPUT, OUR_BUG = 1, 70
"""Exit statuses: the input is wrong; a bug of ours (EX_SOFTWARE of sysexits.h)."""

MAX_PROBLEMS, MAX_CHARACTERS = 200, 1000
"""Largest number of problems in one error, and of characters in one line.

A hostile file can be wrong in a million places.
"""


class StarcliError(Exception):
    """Error in the input: one summary line, and one line for each problem.

    `exit_status` is that of the program (1). Both texts may quote a stranger's file: control and bidirectional
    characters are shown as escapes, lines are cut after MAX_CHARACTERS.

    >>> print(StarcliError("a.safetensors: the weights do not fit", ["fc.weight: shape (2, 3), expected (2, 4)"]))
    a.safetensors: the weights do not fit
      fc.weight: shape (2, 3), expected (2, 4)
    """

    exit_status = WRONG_INPUT

    def __init__(self, summary: str, problems: Iterable[str] = ()) -> None:
        """Clean `summary` and up to MAX_PROBLEMS of `problems` for display."""
        lines = tuple(problems)
        self.summary = _plain(summary)
        self.problems = tuple(map(_plain, first_of(lines, MAX_PROBLEMS)))
        super().__init__("\n".join([self.summary, *(f"  {problem}" for problem in self.problems)]))


def _plain(line: str) -> str:
    """One displayable line: cut where too long, control and bidirectional characters escaped."""
    if len(line) > MAX_CHARACTERS:
        line = line[:MAX_CHARACTERS] + "..."
    return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def first_line(error: BaseException) -> str:
    """First line of the message of another library's exception, or the name of its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def first_of(lines: Sequence[str], most: int) -> list[str]:
    """First `most` lines of many, and one that says how many more there are.

    >>> first_of(["a", "b", "c"], 2)
    ['a', 'b', 'and 1 more']
    """
    return [*lines[:most], *([f"and {len(lines) - most} more"] if len(lines) > most else [])]


def few(names: Sequence[str], most: int) -> str:
    """First `most` of many names, joined by commas, and the number of the others.

    >>> few(["conv1", "conv2", "fc"], 2)
    'conv1, conv2 and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def number_of(count: int, noun: str, plural: str | None = None) -> str:
    """A number of things in words; `plural` where that is not the noun with an s.

    >>> number_of(1, "pair"), number_of(12000, "pair"), number_of(10, "class", "classes")
    ('1 pair', '12,000 pairs', '10 classes')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def with_article(noun: str) -> str:
    """A noun, or the name of a type, with its article; names begin with a vowel's sound where one says so.

    >>> with_article("element"), with_article("ndarray"), with_article("UNet"), with_article("set")
    ('an element', 'an ndarray', 'a UNet', 'a set')
    """
    return f"{'an' if re.match('[aeio]|nd|u(?!ni|net|se)', noun, re.IGNORECASE) else 'a'} {noun}"


def type_in_words(value: object) -> str:
    """What a value is, for an error about one of a wrong type.

    >>> type_in_words(3), type_in_words("3")
    ('an int', 'a str')
    """
    return with_article(type(value).__name__)


def short(value: object) -> str:
    """Abbreviate a value for one line of an error: a hash to 12 characters, other text to 80, None to `nothing`."""
    text = "nothing" if value is None else str(value)
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Clause that helps with a mistyped name: the nearest known names, else all of them.

    cutoff: least similarity, from 0 to 1, see `difflib.get_close_matches`.

    >>> suggestion("resnt", ["resnet", "vgg11"])
    '; did you mean resnet?'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=cutoff)
    if close:
        return "; did you mean " + " or ".join(close) + "?"
    return "; there is " + ", ".join(known) if known else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> StarcliError:
    """Error for a name that a registry or a file does not have.

    >>> print(unknown("architecture", "resnt", ["resnet", "vgg11"]))
    unknown architecture 'resnt'; did you mean resnet?
    """
    return StarcliError(f"unknown {kind} {name!r}{suggestion(name, known)}")


_EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "greater_than": "a number above {gt:,.12g}",
    "greater_than_equal": "at least {ge:,.12g}",
    "less_than": "a number below {lt:,.12g}",
    "less_than_equal": "at most {le:,.12g}",
    "missing": "a value more",
    "string_type": "text",
    "tuple_type": "several values, as a list",
    "dict_type": "a table",
}


def expected_and_found(problem: Mapping[str, Any]) -> str | None:
    """The expected value, and what was found instead, of a problem as pydantic lists it; None of other types of it.

    >>> expected_and_found({"type": "greater_than_equal", "ctx": {"ge": 1}, "input": "-1"})
    "expected at least 1, found '-1'"
    """
    expected = _EXPECTED.get(problem["type"])
    return expected and f"expected {expected.format(**problem.get('ctx', {}))}, found {problem['input']!r:.80}"


def wrong_fields(error: "ValidationError") -> list[str]:
    """A line for each field of a record that is not as it has to be, the first 20 of them."""
    return [f"{'.'.join(map(str, each['loc']))[:120]}: {each['msg']}" for each in error.errors(include_url=False)[:20]]


def option_of(parameter: str) -> str:
    """Option of the command line that sets a parameter, as messages name it.

    >>> option_of("align_examples")
    '--align-examples'
    """
    return "--arch-arg" if parameter == "arch_args" else "--" + parameter.replace("_", "-")


def need_several(models: Sized, what: str = "--sources") -> None:
    """Raise StarcliError for fewer than two models: lines, stars, ensembles and fusions are between several.

    >>> need_several(["a.safetensors"])
    Traceback (most recent call last):
    starcli.errors.StarcliError: --sources needs at least two models, found one
    """
    if len(models) < 2:
        raise StarcliError(f"{what} needs at least two models, found {'one' if len(models) else 'none'}")
