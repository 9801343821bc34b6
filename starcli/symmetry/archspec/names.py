"""Names with braces: patterns that match names of tensors and groups, templates that make names of groups.

In a pattern `{v}` matches a run of digits, `{v:name}` a run without dots, `*` the same without a name. In a template
`{l}`, `{l-1}`, `{depth+1}` is an integer (a run, if `l` was matched by `{l:name}`), `{0:l}` a range, `{l:0}` its
reverse.
Matching walks a name once from each end: no regular expressions, so no input makes it slow.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from starcli.symmetry.archspec.expression import Concat, Fixed, Hole, Interleave, Node, Product, Ref, children
from starcli.symmetry.archspec.parse_expression import NAME, GrammarError

Bindings = Mapping[str, int | str]
MAX_DIGITS = 9
MAX_RANGE = 2_000
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SUM = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]{1,9})(?:[+-](?:[A-Za-z_][A-Za-z0-9_]*|[0-9]{1,9}))*")
_TERM = re.compile(r"([+-]?)([A-Za-z0-9_]+)")


@dataclass(frozen=True)
class PatternPiece:
    """A stretch of a pattern or template: literal text, or what stood between braces (`*` is one of these)."""

    text: str
    literal: bool
    at: int


@lru_cache(maxsize=4096)
def pattern_pieces(source: str) -> tuple[PatternPiece, ...]:
    """`h.{l-1}.w` -> literal `h.`, braces `l-1`, literal `.w`. Raises GrammarError where braces do not pair up."""
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
    """The value of `l`, `l-1`, `depth+1-l`; None where it is no such sum, KeyError(name) for an unknown variable."""
    if _SUM.fullmatch(expression) is None:
        return None
    if _VARIABLE.fullmatch(expression):
        return bindings[expression]
    total = 0
    for sign, word in _TERM.findall(expression):
        value = int(word) if word.isdecimal() else bindings[word]
        if isinstance(value, str):
            return None
        total += -value if sign == "-" else value
    return total


class Pattern:
    """A name with wildcards, compiled for one set of architecture variables."""

    def __init__(self, source: str, variables: Mapping[str, int] | None = None) -> None:
        """Raises GrammarError. A brace that is a sum of known `variables` is replaced, and matches only itself."""
        self.source = source
        self.tokens = tuple(_pattern_tokens(source, variables or {}))
        self.is_literal = all(kind == "text" for kind, _ in self.tokens)
        self.literal = "".join(word for _, word in self.tokens)
        for segment in self.segments:
            _check_segment(segment, source)

    @cached_property
    def segments(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """Tokens (kind, word) between the dots."""
        result: list[list[tuple[str, str]]] = [[]]
        for kind, word in self.tokens:
            if kind != "text":
                result[-1].append((kind, word))
                continue
            first, *others = word.split(".")
            if first:
                result[-1].append(("text", first))
            result.extend([("text", other)] if other else [] for other in others)
        return tuple(tuple(segment) for segment in result)

    @cached_property
    def known(self) -> tuple[str | None, ...]:
        """The words between the dots, None where one holds a wildcard."""
        return tuple(
            None if any(kind != "text" for kind, _ in segment) else "".join(word for _, word in segment)
            for segment in self.segments
        )

    def match(self, name: str) -> dict[str, int | str] | None:
        """What the wildcards stand for in `name`, or None. Linear in the length of the name."""
        if self.is_literal:
            return {} if name == self.literal else None
        words = name.split(".")
        if len(words) != len(self.segments):
            return None
        # Words without wildcards first: they rule out most names at once.
        if any(known is not None and known != word for known, word in zip(self.known, words, strict=True)):
            return None
        bindings: dict[str, int | str] = {}
        for segment, word in zip(self.segments, words, strict=True):
            for key, value in _match_segment(segment, word):
                if key is None or bindings.setdefault(key, value) != value:
                    return None
        bindings.pop("*", None)
        return bindings


def _pattern_tokens(source: str, variables: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Tokens ("text" | "digits" | "run", word) of a pattern."""
    for piece in pattern_pieces(source):
        name, colon, kind = piece.text.partition(":")
        if piece.literal:
            yield "text", piece.text
        elif piece.text == "*":
            yield "run", "*"
        elif colon and kind == "name" and _VARIABLE.fullmatch(name):
            yield "run", name
        elif not colon and _VARIABLE.fullmatch(name) and name not in variables:
            yield "digits", name
        else:
            yield "text", str(_integer(piece, source, variables))


def _integer(piece: PatternPiece, source: str, bindings: Bindings) -> int | str:
    """The value of one pair of braces; GrammarError with its place where it has none."""
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


def _check_segment(segment: tuple[tuple[str, str], ...], source: str) -> None:
    """Between two dots at most one run, and no two wildcards side by side: otherwise a match would not be unique."""
    kinds = [kind for kind, _ in segment]
    beside = any(kind != "text" and after != "text" for kind, after in pairwise(kinds))
    if kinds.count("run") > 1 or beside:
        raise GrammarError(
            "between two dots: at most one `*` or {v:name}, and no two wildcards side by side", source, 0
        )


def _match_segment(segment: tuple[tuple[str, str], ...], word: str) -> Iterator[tuple[str | None, int | str]]:
    """Bindings of one segment; a key of None says that it does not match."""
    run = next((i for i, (kind, _) in enumerate(segment) if kind == "run"), None)
    before = segment if run is None else segment[:run]
    after = () if run is None else segment[run + 1 :]
    start, end = 0, len(word)
    for kind, text in before:
        stop = _forward(kind, text, word, start)
        if stop is None:
            yield None, 0
            return
        if kind == "digits":
            yield text, int(word[start:stop])
        start = stop
    for kind, text in reversed(after):
        begin = _backward(kind, text, word, start, end)
        if begin is None:
            yield None, 0
            return
        if kind == "digits":
            yield text, int(word[begin:end])
        end = begin
    if run is None:
        yield ("*", "") if start == end else (None, 0)
    elif start >= end:
        yield None, 0
    elif segment[run][1] != "*":
        yield segment[run][1], word[start:end]


def _forward(kind: str, text: str, word: str, start: int) -> int | None:
    """The end of the token that begins at `start`, or None."""
    if kind == "text":
        return start + len(text) if word.startswith(text, start) else None
    stop = start
    while stop < len(word) and "0" <= word[stop] <= "9":
        stop += 1
    return stop if _plain(word[start:stop]) else None


def _backward(kind: str, text: str, word: str, start: int, end: int) -> int | None:
    """The beginning of the token that ends at `end`, not before `start`, or None."""
    if kind == "text":
        return end - len(text) if end - len(text) >= start and word.endswith(text, start, end) else None
    begin = end
    while begin > start and "0" <= word[begin - 1] <= "9":
        begin -= 1
    return begin if _plain(word[begin:end]) else None


def _plain(digits: str) -> bool:
    """Whether `digits` is the usual spelling of a small integer: `01` is none, since {l} would then make `1` of it."""
    return 0 < len(digits) <= MAX_DIGITS and (digits == "0" or digits[0] != "0")


def expand_templates(node: Node, source: str, bindings: Bindings, hole: str) -> Node:
    """The tree with every template filled in; holes get unique keys that begin with `hole`. Raises GrammarError."""
    counter = iter(range(len(source) + 1))
    room = MAX_RANGE  # of all ranges together

    def walk(node: Node) -> Node:
        match node:
            case Hole():
                return Hole(f"{hole} {next(counter)}")
            case Ref(name, at):
                nonlocal room
                made = _expand_name(name, at, source, bindings, room)
                room -= len(children(made))
                return made
            case Product() | Concat() | Interleave():
                return type(node)(tuple(walk(child) for child in children(node)))
        return node

    return walk(node)


def _expand_name(name: str, at: int, source: str, bindings: Bindings, room: int) -> Node:
    """A Ref, a Fixed (only braces), or the concatenation that a range stands for."""
    if "{" not in name:
        return Ref(name, at)
    parts = [PatternPiece(piece.text, piece.literal, piece.at + at) for piece in pattern_pieces(name)]
    ranges = [i for i, piece in enumerate(parts) if not piece.literal and ":" in piece.text]
    if not ranges:
        if len(parts) == 1:
            value = _integer(parts[0], source, bindings)
            if isinstance(value, str) or value < 1:
                raise GrammarError(f"this is {value!r}; a size is a positive integer", source, at)
            return Fixed(value)
        return Ref(_fill(parts, source, bindings), at)
    if len(ranges) > 1:
        raise GrammarError("one range a name", source, parts[ranges[1]].at)
    i = ranges[0]
    return Concat(
        tuple(
            Ref(_fill([*parts[:i], PatternPiece(str(k), True, 0), *parts[i + 1 :]], source, bindings), at)
            for k in _range(parts[i], source, bindings, room)
        )
    )


def _range(piece: PatternPiece, source: str, bindings: Bindings, room: int) -> range:
    """`a:b` -> a ... b-1; where a > b, the reverse of `b:a`."""
    first, last = (
        _integer(PatternPiece(bound, False, piece.at), source, bindings) for bound in piece.text.split(":", 1)
    )
    if isinstance(first, str) or isinstance(last, str):
        raise GrammarError("a range goes from integer to integer", source, piece.at)
    if abs(first - last) > room:
        raise GrammarError(f"a range of {abs(first - last)}; at most {MAX_RANGE} an expression", source, piece.at)
    return range(first, last) if first <= last else range(first - 1, last - 1, -1)


def _fill(parts: list[PatternPiece], source: str, bindings: Bindings) -> str:
    name = "".join(piece.text if piece.literal else str(_integer(piece, source, bindings)) for piece in parts)
    if not is_group_name(name):
        raise GrammarError(f"{name!r} cannot name a group", source, parts[0].at if parts else 0)
    return name


def is_group_name(name: str) -> bool:
    """Whether an expression can hold `name` as a group: letters, digits and `_.-`, neither `_` nor an integer."""
    return NAME.fullmatch(name) is not None and name != "_" and not name.isdecimal()


def fill_template(template: str, bindings: Bindings) -> str:
    """The name that a template makes: `head.{l}` with l = 3 is `head.3`. Raises GrammarError."""
    return _fill(list(pattern_pieces(template)), template, bindings)


def check_template(name: str, at: int, source: str) -> None:
    """Raises GrammarError where a group's name could be filled in by no bindings at all (all variables stand for 1)."""
    for piece in pattern_pieces(name) if "{" in name else ():
        bounds = piece.text.split(":") if not piece.literal else []
        if len(bounds) > 2 or any(_SUM.fullmatch(bound) is None for bound in bounds):
            raise GrammarError("{v}, {v-1}, {v+1} or a range {a:b} stands in braces", source, at + piece.at)
