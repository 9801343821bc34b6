"""Names of tensors and groups with braces, as `h.{l-1}.w`: cut at the braces, and what these stand for.

A name may be a pattern, which matches names (see `patterns`), or a template, which makes them (see `templates`). Both
consist of literal text and braces: `{l}`, `{l-1}` and `{depth+1}` are integers, `{v:name}` is a run without dots,
`{0:l}` a range.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

from starcli.symmetry.archspec.parse_expression import NAME, GrammarError

Bindings = Mapping[str, int | str]
"""What the variables of a pattern stand for."""
SUM = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]{1,9})(?:[+-](?:[A-Za-z_][A-Za-z0-9_]*|[0-9]{1,9}))*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TERM = re.compile(r"([+-]?)([A-Za-z0-9_]+)")


@dataclass(frozen=True)
class PatternPiece:
    """A stretch of a name: literal text, or what stood between braces (`*` is one of these), at place `at`."""

    text: str
    literal: bool
    at: int


@lru_cache(maxsize=4096)
def pattern_pieces(source: str) -> tuple[PatternPiece, ...]:
    """Cut a name at its braces: `h.{l-1}.w` is literal `h.`, braces `l-1`, literal `.w`.

    Raises GrammarError where braces do not pair up.
    """
    found: list[PatternPiece] = []
    here = 0
    while here < len(source):
        ends = [end for sign in "{}*" if (end := source.find(sign, here)) >= 0]
        stop = min(ends, default=len(source))
        if stop > here:
            found.append(PatternPiece(source[here:stop], True, here))
        if stop == len(source):
            break
        if source[stop] == "}":
            raise GrammarError("nothing opened this '}'", source, stop)
        close = stop if source[stop] == "*" else source.find("}", stop)
        if close < 0:
            raise GrammarError("this '{' is never closed", source, stop)
        found.append(PatternPiece("*" if source[stop] == "*" else source[stop + 1 : close], False, stop))
        here = close + 1
    return tuple(found)


def evaluate_count(expression: str, bindings: Bindings) -> int | str | None:
    """The value of `l`, `l-1` or `depth+1-l`; None where `expression` is no such sum.

    Raises KeyError(name) for an unknown variable.

    >>> evaluate_count("depth+1-l", {"depth": 4, "l": 2})
    3
    """
    if SUM.fullmatch(expression) is None:
        return None
    if VARIABLE.fullmatch(expression):
        return bindings[expression]
    total = 0
    for sign, word in _TERM.findall(expression):
        value = int(word) if word.isdecimal() else bindings[word]
        if isinstance(value, str):
            return None
        total += -value if sign == "-" else value
    return total


def brace_value(piece: PatternPiece, source: str, bindings: Bindings) -> int | str:
    """The value of one pair of braces. Raises GrammarError with its place in `source` where it has none."""
    try:
        value = evaluate_count(piece.text, bindings)
    except KeyError as missing:
        known = ", ".join(sorted(bindings)) or "none"
        raise GrammarError(
            f"the variable {missing.args[0]!r} is not known here (known: {known})", source, piece.at
        ) from None
    if value is None:
        raise GrammarError("{v}, {v:name}, {v-1}, {v+1} or {a:b} of integers stands in braces", source, piece.at)
    if isinstance(value, int) and value < 0:
        raise GrammarError(f"this is {value}, below 0", source, piece.at)
    return value


def unused_name(base: str, taken: Collection[str]) -> str:
    """The name `base`, or with `_2`, `_3` and so on behind it the first that is not taken.

    >>> unused_name("head", {"head", "head_2"})
    'head_3'
    """
    return next(name for k in count(1) if (name := base if k == 1 else f"{base}_{k}") not in taken)


def is_group_name(name: str) -> bool:
    """Whether an expression can hold `name` as a group: letters, digits and `_.-`, neither `_` nor an integer."""
    return NAME.fullmatch(name) is not None and name != "_" and not name.isdecimal()
