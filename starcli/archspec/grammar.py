"""The expression of one tensor axis: text -> tree -> canonical tree -> text. Knows no tensors and no files.

    axis    := part ('|' part)*            interleaving, in turns: a0 b0 a1 b1 ...; the first may be one longer than the last
    part    := factor ('+' factor)*        concatenation
    factor  := '_' | INT | group | '(' axis axis* ')'     fixed, fixed of that size, group, product in memory order

A group's name may hold templates in braces (see `patterns`): `inner.{b}`, `h.{l-1}`, `g.{0:l}`; a factor that is nothing
but braces, `{heads}`, is an integer.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

MAX_LENGTH = 20_000
MAX_DEPTH = 32
NAME = re.compile(r"[A-Za-z0-9_.\-]+")


class GrammarError(Exception):
    """A place in one expression that cannot be read; whoever knows the file and the line turns it into a StarcliError."""

    def __init__(self, message: str, text: str, at: int) -> None:
        super().__init__(message)
        self.message, self.text, self.at = message, text, at

    def lines(self, place: str) -> list[str]:
        """Three lines: where and what, the expression, and a caret under the offending place."""
        start = max(0, self.at - 60)
        shown = self.text[start : start + 120].replace("\n", " ").replace("\t", " ")
        return [f"{place}: {self.message}", f"    {shown}", "    " + " " * (self.at - start) + "^"]


@dataclass(frozen=True)
class Fixed:
    """A run of positions that nothing permutes."""

    size: int


@dataclass(frozen=True)
class Hole:
    """`_`: fixed, of a size that the tensor tells. `key` is unique once the expression belongs to a tensor."""

    key: str = "_"


@dataclass(frozen=True)
class Ref:
    """All units of one group, in order. The name may hold templates until it is expanded; `at` is its place in the text."""

    name: str
    at: int = 0


@dataclass(frozen=True)
class Product:
    """Factors in memory order, the first outermost."""

    factors: tuple["Node", ...]


@dataclass(frozen=True)
class Concat:
    """Parts one behind the other; none at all is an axis of length 0."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Interleave:
    """Parts taken in turns, a0 b0 a1 b1 ...: of equal length, or the first ones longer by one (see `turns`)."""

    parts: tuple["Node", ...]


Node = Fixed | Hole | Ref | Product | Concat | Interleave


def parse_axis(text: str) -> Node:
    """The tree of one axis expression, names still as written. Raises GrammarError."""
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
        node = self.axis(0)
        if self.peek() is not None:
            word = self.peek()
            raise self.error(
                "nothing opened this ')'" if word == ")" else f"{word!r} after the end; a product stands in (...)"
            )
        return node

    def peek(self) -> str | None:
        return self.tokens[self.here][0] if self.here < len(self.tokens) else None

    def error(self, message: str) -> GrammarError:
        at = self.tokens[self.here][1] if self.here < len(self.tokens) else len(self.text)
        return GrammarError(message, self.text, at)

    def axis(self, depth: int) -> Node:
        return self.chain("|", depth)

    def chain(self, operator: str, depth: int) -> Node:
        items = [self.operand(operator, depth)]
        while self.peek() == operator:
            self.here += 1
            items.append(self.operand(operator, depth))
        if len(items) == 1:
            return items[0]
        return Interleave(tuple(items)) if operator == "|" else Concat(tuple(items))

    def operand(self, operator: str, depth: int) -> Node:
        return self.chain("+", depth) if operator == "|" else self.factor(depth)

    def factor(self, depth: int) -> Node:
        token = self.peek()
        if token is None:
            raise self.error("something is missing here: a group, an integer, `_` or (...)")
        if token in (")", "|", "+"):
            raise self.error(f"unexpected {token!r}; a group, an integer, `_` or (...) stands here")
        at = self.tokens[self.here][1]
        if token == "(":
            return self.product(depth + 1)
        self.here += 1
        if token == "_":
            return Hole()
        if token.isdecimal() and token.isascii():
            return Fixed(self.integer(token, at))
        return Ref(token, at)

    def integer(self, token: str, at: int) -> int:
        if len(token) > 12 or int(token) < 1:
            raise GrammarError("a size is a positive integer of at most 12 digits", self.text, at)
        return int(token)

    def product(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.error(f"parentheses deeper than {MAX_DEPTH}")
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
        elif text[here] in "()|+":
            yield text[here], here
            here += 1
        else:
            end = here
            while end < len(text) and not text[end].isspace() and text[end] not in "()|+":
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


def product(factors: tuple[Node, ...]) -> Node:
    """The product in canonical form: flat, without factors of size 1, adjacent fixed factors as one."""
    flat: list[Node] = []
    for factor in (inner for f in factors for inner in (f.factors if isinstance(f, Product) else (f,))):
        if isinstance(factor, Fixed) and flat and isinstance(flat[-1], Fixed):
            flat[-1] = Fixed(flat[-1].size * factor.size)
        elif factor != Fixed(1):
            flat.append(factor)
    return flat[0] if len(flat) == 1 else Product(tuple(flat)) if flat else Fixed(1)


def concat(parts: tuple[Node, ...]) -> Node:
    """The concatenation in canonical form: flat, adjacent fixed parts as one."""
    flat: list[Node] = []
    for part in (inner for p in parts for inner in (p.parts if isinstance(p, Concat) else (p,))):
        if isinstance(part, Fixed) and flat and isinstance(flat[-1], Fixed):
            flat[-1] = Fixed(flat[-1].size + part.size)
        else:
            flat.append(part)
    return flat[0] if len(flat) == 1 else Concat(tuple(flat))


def interleave(parts: tuple[Node, ...]) -> Node:
    """The interleaving in canonical form: of fixed parts alone it is fixed."""
    if all(isinstance(part, Fixed) for part in parts):
        return Fixed(sum(part.size for part in parts if isinstance(part, Fixed)))
    return parts[0] if len(parts) == 1 else Interleave(parts)


def turns(total: int, parts: int) -> list[int]:
    """The lengths of interleaved parts that number `total`: a channel shuffle cut in the middle leaves a0 b0 a1."""
    return [(total + parts - 1 - i) // parts for i in range(parts)]


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    match node:
        case Product(inner) | Concat(inner) | Interleave(inner):
            return inner
    return ()


def symbols(node: Node) -> list[str]:
    """Names of groups and holes below `node`, in order, repeated as often as they stand there."""
    match node:
        case Ref(name):
            return [name]
        case Hole(key):
            return [key]
    return [name for child in children(node) for name in symbols(child)]


def references(node: Node) -> list[tuple[str, int]]:
    """Names of groups below `node` as written, with their places in the text."""
    if isinstance(node, Ref):
        return [(node.name, node.at)]
    return [found for child in children(node) for found in references(child)]


def size(node: Node, sizes: Mapping[str, int]) -> int | None:
    """Number of positions, or None while a size below is unknown."""
    match node:
        case Fixed(n):
            return n
        case Ref(symbol) | Hole(symbol):
            return sizes.get(symbol)
    total = 1 if isinstance(node, Product) else 0
    for child in children(node):
        n = size(child, sizes)
        if n is None:
            return None
        total = total * n if isinstance(node, Product) else total + n
    return total


def canonical(node: Node, sizes: Mapping[str, int]) -> Node:
    """The canonical tree of an expanded one: holes become integers of their size."""
    match node:
        case Hole(key):
            return Fixed(sizes[key])
        case Ref(name):
            return Ref(name)
        case Product(inner):
            return product(tuple(canonical(child, sizes) for child in inner))
        case Concat(inner):
            return concat(tuple(canonical(child, sizes) for child in inner))
        case Interleave(inner):
            return interleave(tuple(canonical(child, sizes) for child in inner))
    return node


def text(node: Node) -> str:
    """The expression that parses to `node`."""
    match node:
        case Fixed(n):
            return str(n)
        case Hole():
            return "_"
        case Ref(name):
            return name
        case Product(inner):
            return "(" + " ".join(_inside(child, (Concat, Interleave)) for child in inner) + ")"
        case Concat(inner):
            return " + ".join(_inside(child, (Concat, Interleave)) for child in inner)
        case Interleave(inner):
            return " | ".join(_inside(child, (Interleave,)) for child in inner)


def _inside(node: Node, wrapped: tuple[type, ...]) -> str:
    """The expression of `node`, in parentheses where it would otherwise be read as something else."""
    return f"({text(node)})" if isinstance(node, wrapped) else text(node)
