"""The expression of one tensor axis as a tree: its nodes, canonical form, size and text.

    whole   := axis (';' axis)*            of a later axis, by the part of the first one, of as many equal parts
    axis    := part ('|' part)*            in turns, a0 b0 a1 b1 ...; the first may be one longer than the last
    part    := factor ('+' factor)*        concatenation
    factor  := '_' | INT | group mark? | '(' axis axis* ')'   fixed, fixed of that size, group, product in memory order
    mark    := "'" | '^' INT (':' INT)*    how its kind acts there: g^-T, or g^k; several for the copies of `(2 h^1:-1)`

A group's name may hold templates in braces (see `templates`): `inner.{b}`, `h.{l-1}`, `g.{0:l}`; a factor that is
nothing but braces, `{heads}`, is an integer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Fixed:
    """`size` positions that nothing permutes."""

    size: int


@dataclass(frozen=True)
class Hole:
    """`_`: positions that nothing permutes, as many as the tensor has there.

    `key` is unique once the expression belongs to a tensor.
    """

    key: str = "_"


@dataclass(frozen=True)
class Ref:
    """All units of one group, in order.

    The name may hold templates until it is expanded; `at` is its place in the text, for error messages. `powers` are
    the exponents of what acts there besides permutations, as far as they are said; canonical trees have none.
    """

    name: str
    at: int = 0
    powers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Product:
    """Factors in memory order, the first outermost: position (i, j) of `(a b)` is i * size(b) + j."""

    factors: tuple["Node", ...]


@dataclass(frozen=True)
class Concat:
    """Parts one behind the other, `a + b`; none at all is an axis of length 0."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Interleave:
    """Parts taken in turns, `a | b` is a0 b0 a1 b1 ...: of equal length, or the first longer by one (see `turns`)."""

    parts: tuple["Node", ...]


@dataclass(frozen=True)
class Cases:
    """What an axis holds in each part of the tensor's first axis, which falls into as many equal parts: `a ; b ; b`.

    The weight of attention between two streams is such: `[queries + keys + values, target ; source ; source]`. It
    stands within no other expression, and not on a first axis.
    """

    parts: tuple["Node", ...]


Node = Fixed | Hole | Ref | Product | Concat | Interleave | Cases


def product(factors: tuple[Node, ...]) -> Node:
    """The product in canonical form: flat, without factors of size 1, adjacent fixed factors multiplied."""
    flat: list[Node] = []
    for factor in (inner for f in factors for inner in (f.factors if isinstance(f, Product) else (f,))):
        if isinstance(factor, Fixed) and flat and isinstance(flat[-1], Fixed):
            flat[-1] = Fixed(flat[-1].size * factor.size)
        elif factor != Fixed(1):
            flat.append(factor)
    return flat[0] if len(flat) == 1 else Product(tuple(flat)) if flat else Fixed(1)


def concat(parts: tuple[Node, ...]) -> Node:
    """The concatenation in canonical form: flat, adjacent fixed parts added up."""
    flat: list[Node] = []
    for part in (inner for p in parts for inner in (p.parts if isinstance(p, Concat) else (p,))):
        if isinstance(part, Fixed) and flat and isinstance(flat[-1], Fixed):
            flat[-1] = Fixed(flat[-1].size + part.size)
        else:
            flat.append(part)
    return flat[0] if len(flat) == 1 else Concat(tuple(flat))


def interleave(parts: tuple[Node, ...]) -> Node:
    """The interleaving in canonical form: one of fixed parts only is fixed."""
    if all(isinstance(part, Fixed) for part in parts):
        return Fixed(sum(part.size for part in parts if isinstance(part, Fixed)))
    return parts[0] if len(parts) == 1 else Interleave(parts)


def cases(parts: tuple[Node, ...]) -> Node:
    """The cases in canonical form: as few as say the same, one alone as itself."""
    n = len(parts)
    for count in range(1, n):
        run = n // count
        if n % count == 0 and all(parts[i] == parts[i // run * run] for i in range(n)):
            return parts[0] if count == 1 else Cases(parts[::run])
    return parts[0] if n == 1 else Cases(parts)


def turns(total: int, parts: int) -> list[int]:
    """Lengths of `parts` interleaved parts with `total` positions together.

    A channel shuffle that was cut in the middle leaves a0 b0 a1: the first parts may be longer by one.

    >>> turns(5, 2)
    [3, 2]
    """
    return [(total + parts - 1 - i) // parts for i in range(parts)]


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below `node`."""
    match node:
        case Product(inner) | Concat(inner) | Interleave(inner) | Cases(inner):
            return inner
    return ()


def symbols(node: Node) -> list[str]:
    """Names of the groups and keys of the holes in `node`, in order, repeated as often as they stand there."""
    match node:
        case Ref(name):
            return [name]
        case Hole(key):
            return [key]
    return [name for child in children(node) for name in symbols(child)]


def references(node: Node) -> list[Ref]:
    """The groups in `node` in order, as written."""
    if isinstance(node, Ref):
        return [node]
    return [found for child in children(node) for found in references(child)]


def with_references(node: Node, change: Callable[[Ref], Node]) -> Node:
    """The tree with what `change` makes of each group, in order, in its place."""
    return change(node) if isinstance(node, Ref) else with_children(node, lambda each: with_references(each, change))


def with_children(node: Node, change: Callable[[Node], Node]) -> Node:
    """The node with what `change` makes of each node directly below it, in order, in its place."""
    inner = tuple(map(change, children(node)))
    return type(node)(inner) if inner else node  # type: ignore[arg-type]


def size_of_expression(node: Node, sizes: Mapping[str, int]) -> int | None:
    """Number of positions of `node`, given sizes of groups and holes; None while one is unknown."""
    match node:
        case Fixed(n):
            return n
        case Ref(symbol) | Hole(symbol):
            return sizes.get(symbol)
    total = 1 if isinstance(node, Product) else 0
    for child in children(node):
        length = size_of_expression(child, sizes)
        if length is None or isinstance(node, Cases):
            return length
        total = total * length if isinstance(node, Product) else total + length
    return total


def canonical(node: Node, sizes: Mapping[str, int]) -> Node:
    """The canonical tree of `node`: holes become integers of their size, nested sums and products are flat.

    Two expressions with equal canonical trees put the same units at the same positions.
    """
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
        case Cases(inner):
            return cases(tuple(canonical(child, sizes) for child in inner))
    return node


def mark(powers: tuple[int, ...]) -> str:
    """Exponents as they stand behind the name of a group.

    >>> mark(()), mark((-1,)), mark((1, 0))
    ('', "'", '^1:0')
    """
    return "'" if powers == (-1,) else f"^{':'.join(map(str, powers))}" if powers else ""


def text(node: Node) -> str:
    """The expression that parses to `node`.

    >>> text(Concat((Ref("stem"), Product((Ref("head"), Fixed(4))))))
    'stem + (head 4)'
    """
    match node:
        case Fixed(n):
            return str(n)
        case Hole():
            return "_"
        case Ref(name, _, powers):
            return name + mark(powers)
        case Product(inner):
            return "(" + " ".join(_inside(child, (Concat, Interleave)) for child in inner) + ")"
        case Concat(inner):
            return " + ".join(_inside(child, (Concat, Interleave)) for child in inner)
        case Interleave(inner):
            return " | ".join(_inside(child, (Interleave,)) for child in inner)
        case Cases(inner):
            return " ; ".join(map(text, inner))


def _inside(node: Node, wrapped: tuple[type, ...]) -> str:
    """The expression of `node`, in parentheses where it would otherwise be read as something else."""
    return f"({text(node)})" if isinstance(node, wrapped) else text(node)
