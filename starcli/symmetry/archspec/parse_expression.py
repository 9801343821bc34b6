"""Parser of axis expressions: text to tree, in linear time. `expression` has the grammar."""

import re
from collections.abc import Callable, Iterator

from starcli.symmetry.archspec.expression import Cases, Concat, Fixed, Hole, Interleave, Node, Product, Ref

MAX_LENGTH = 20_000
DEEPEST_EXPRESSION = 32
NAME = re.compile(r"[A-Za-z0-9_.\-]+")
MARK = re.compile(r"'|\^(-?[0-9]{1,2}(?::-?[0-9]{1,2})*)")
"""What may stand behind the name of a group: a prime, or exponents."""


class GrammarError(Exception):
    """A place in one expression that cannot be read.

    It knows neither file nor line; whoever does turns it into a StarcliError (see `lines`).
    """

    def __init__(self, message: str, text: str, at: int) -> None:
        """`message` says what is wrong at character `at` of `text`."""
        super().__init__(message)
        self.message, self.text, self.at = message, text, at

    def lines(self, place: str) -> list[str]:
        """Three lines: where and what, the expression, and a caret under the offending place."""
        start = max(0, self.at - 60)
        shown = self.text[start : start + 120].replace("\n", " ").replace("\t", " ")
        return [f"{place}: {self.message}", f"    {shown}", "    " + " " * (self.at - start) + "^"]


def parse_axis(text: str) -> Node:
    """Parse one axis expression; names of groups stay as written. Raises GrammarError.

    >>> parse_axis("(head 4)")
    Product(factors=(Ref(name='head', at=1, powers=()), Fixed(size=4)))
    """
    if len(text) > MAX_LENGTH:
        raise GrammarError(f"an expression of {len(text)} characters; at most {MAX_LENGTH} are read", text, 0)
    return _Parser(text).whole()


class _Parser:
    """Recursive descent over the tokens of one expression; each token is looked at once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.here = 0

    def whole(self) -> Node:
        """The tree of the whole text: one axis, or what it holds in each case, and nothing behind it."""
        found = self.separated(";", self.axis, 0)
        node = found[0] if len(found) == 1 else Cases(found)
        if self.peek() is not None:
            word = self.peek()
            raise self.error(
                "nothing opened this ')'"
                if word == ")"
                else "a prime or an exponent stands directly behind the name of a group"
                if word and word[0] in "'^"
                else f"{word!r} after the end; a product stands in (...)"
            )
        return node

    def peek(self) -> str | None:
        """The next token, None at the end."""
        return self.tokens[self.here][0] if self.here < len(self.tokens) else None

    def error(self, message: str) -> GrammarError:
        """An error at the next token."""
        at = self.tokens[self.here][1] if self.here < len(self.tokens) else len(self.text)
        return GrammarError(message, self.text, at)

    def axis(self, depth: int) -> Node:
        """An axis: part ('|' part)*."""
        parts = self.separated("|", self.part, depth)
        return parts[0] if len(parts) == 1 else Interleave(parts)

    def part(self, depth: int) -> Node:
        """A part: factor ('+' factor)*."""
        factors = self.separated("+", self.factor, depth)
        return factors[0] if len(factors) == 1 else Concat(factors)

    def separated(self, sign: str, operand: Callable[[int], Node], depth: int) -> tuple[Node, ...]:
        """One operand or several, with `sign` between each two."""
        found = [operand(depth)]
        while self.peek() == sign:
            self.here += 1
            found.append(operand(depth))
        return tuple(found)

    def factor(self, depth: int) -> Node:
        """A factor: '_' | INT | group | product."""
        token = self.peek()
        if token is None:
            raise self.error("something is missing here: a group, an integer, `_` or (...)")
        if token[0] in "'^":
            raise self.error("a prime or an exponent stands directly behind the name of a group")
        if token in (")", "|", "+", ";"):
            raise self.error(f"unexpected {token!r}; a group, an integer, `_` or (...) stands here")
        at = self.tokens[self.here][1]
        if token == "(":
            return self.product(depth + 1)
        self.here += 1
        if token == "_":
            return Hole()
        if token.isdecimal() and token.isascii():
            return Fixed(self.integer(token, at))
        return Ref(token, at, self.powers(at + len(token)))

    def powers(self, behind: int) -> tuple[int, ...]:
        """The exponents that stand directly `behind` a name."""
        token = self.peek()
        if token is None or token[0] not in "'^" or self.tokens[self.here][1] != behind:
            return ()
        found = MARK.fullmatch(token)
        if found is None:
            raise self.error("an exponent is an integer, as in h^2, h^-1 or (2 h^1:0)")
        self.here += 1
        return tuple(map(int, found[1].split(":"))) if found[1] else (-1,)

    def integer(self, token: str, at: int) -> int:
        if len(token) > 12 or int(token) < 1:
            raise GrammarError("a size is a positive integer of at most 12 digits", self.text, at)
        return int(token)

    def product(self, depth: int) -> Node:
        """A product: '(' axis axis* ')'."""
        if depth > DEEPEST_EXPRESSION:
            raise self.error(f"parentheses deeper than {DEEPEST_EXPRESSION}")
        opened = self.tokens[self.here][1]
        self.here += 1
        factors = []
        while self.peek() != ")":
            if self.peek() is None:
                raise GrammarError("this '(' is never closed", self.text, opened)
            factors.append(self.axis(depth))
        self.here += 1
        if not factors:
            raise GrammarError("an empty product", self.text, opened)
        return factors[0] if len(factors) == 1 else Product(tuple(factors))


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """Words and signs with their places; a brace belongs to its word up to the closing one, whatever stands inside."""
    here = 0
    while here < len(text):
        if text[here].isspace():
            here += 1
        elif text[here] in "()|+;":
            yield text[here], here
            here += 1
        elif text[here] in "'^":
            end = here + 1
            while text[here] == "^" and end < len(text) and text[end] in "-0123456789:":
                end += 1
            yield text[here:end], here
            here = end
        else:
            end = here
            while end < len(text) and not text[end].isspace() and text[end] not in "()|+;'^":
                end = _word_step(text, end)
            yield text[here:end], here
            here = end


def _word_step(text: str, here: int) -> int:
    """The place after the character, or after the whole {...}, that begins at `here`."""
    if text[here] == "{":
        close = text.find("}", here)
        if close < 0:
            raise GrammarError("this '{' is never closed", text, here)
        return close + 1
    if NAME.fullmatch(text[here]) is None:
        raise GrammarError(f"{text[here]!r} has no meaning here", text, here)
    return here + 1
