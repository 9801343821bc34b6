"""Patterns that match names of tensors and groups.

`{v}` matches a run of digits, `{v:name}` a run without dots, `*` the same without a name. Matching walks a name once
from each end: no regular expressions, so no input makes it slow.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise

from starcli.symmetry.archspec.names import VARIABLE, brace_value, pattern_pieces
from starcli.symmetry.archspec.parse_expression import GrammarError

MAX_DIGITS = 9


class Pattern:
    """A name with wildcards, compiled for one set of architecture variables.

    >>> Pattern("layer{s}.{b}.*.weight").match("layer2.0.conv1.weight")
    {'s': 2, 'b': 0}
    """

    def __init__(self, source: str, variables: Mapping[str, int] | None = None) -> None:
        """Compile `source`. A brace that is a sum of known `variables` is replaced, and matches only itself.

        Raises GrammarError.
        """
        self.tokens = tuple(_pattern_tokens(source, variables or {}))
        self.is_literal = all(kind == "text" for kind, _ in self.tokens)
        self.literal = "".join(word for _, word in self.tokens)
        for segment in self.segments:
            _check_segment(segment, source)

    @cached_property
    def segments(self) -> tuple[tuple[tuple[str, str], ...], ...]:
        """The tokens (kind, word) between each two dots."""
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

    def match(self, name: str) -> dict[str, int | str] | None:
        """Values of the wildcards in `name`, or None where it does not match.

        Takes time linear in the length of the name.
        """
        words = name.split(".")
        if len(words) != len(self.segments):
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
        elif colon and kind == "name" and VARIABLE.fullmatch(name):
            yield "run", name
        elif not colon and VARIABLE.fullmatch(name) and name not in variables:
            yield "digits", name
        else:
            yield "text", str(brace_value(piece, source, variables))


def _check_segment(segment: tuple[tuple[str, str], ...], source: str) -> None:
    """Check that a match is unique: between two dots at most one run, and no two wildcards side by side."""
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
