"""Sizes of groups and of `_` from the shapes of tensors: one equation for each axis, solved to a fixed point."""

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from starcli.symmetry.archspec.expression import (
    Cases,
    Concat,
    Interleave,
    Node,
    Product,
    children,
    size_of_expression,
    symbols,
    text,
    turns,
)

MAX_WORK = 3_000_000


@dataclass(frozen=True)
class Equation:
    """An axis whose expression `node` has `total` positions; `place` names the tensor and axis in messages."""

    node: Node
    total: int
    place: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Symbols of the expression, as often as they stand there."""
        return tuple(symbols(self.node))


def solve(equations: Sequence[Equation], sizes: dict[str, int]) -> list[str]:
    """Fill `sizes` (symbol -> size) in place; return one line for each equation that cannot hold.

    An equation with one unknown symbol is solved by bisection (its size grows with every symbol); one with more is
    split where all factors, parts or siblings but one are known. What stays unknown is left out of `sizes`.
    """
    origin = dict.fromkeys(sizes, "groups")
    waiting: dict[str, list[Equation]] = defaultdict(list)
    queue = deque(equations)
    problems: list[str] = []
    work = 0
    while queue:
        equation = queue.popleft()
        if isinstance(equation.node, Cases):
            queue.extend(Equation(part, equation.total, equation.place) for part in equation.node.parts)
            continue
        names = equation.names
        work += len(names)
        if work > MAX_WORK:
            return ["the expressions depend on each other in too many ways for their sizes to be solved"]
        unknown = {name for name in names if name not in sizes}
        if not unknown:
            problems += _mismatch(equation, sizes, origin)
        elif len(unknown) == 1 and (value := _bisect(equation, symbol := min(unknown), sizes)) is not None:
            sizes[symbol], origin[symbol] = value, equation.place
            queue.extend([equation, *waiting.pop(symbol, [])])
        elif simpler := _split(equation, sizes):
            queue.extend(simpler)
        else:
            for symbol in unknown:
                waiting[symbol].append(equation)
    problems += [
        f"{equation.place}: {equation.total} positions, which no size of {_show(symbol)} gives"
        for symbol, stuck in waiting.items()
        for equation in stuck
        if all(other == symbol or other in sizes for other in equation.names)
    ]
    return list(dict.fromkeys(problems))


def shortened(words: str) -> str:
    """The beginning of a long expression, enough to recognise it."""
    return words if len(words) <= 200 else words[:200] + " ..."


def _show(symbol: str) -> str:
    return "`_`" if symbol.startswith("_ ") else symbol


def _mismatch(equation: Equation, sizes: dict[str, int], origin: dict[str, str]) -> list[str]:
    """One line where the known sizes contradict the tensor, or interleaved parts differ in length; else none."""
    found = interleaving_problem(equation.node, sizes)
    if found:
        return [f"{equation.place}: {found}"]
    total = size_of_expression(equation.node, sizes)
    if total == equation.total:
        return []
    used = dict.fromkeys(symbols(equation.node))
    because = "; ".join(f"{_show(s)} = {sizes[s]} from {origin[s]}" for s in used if origin[s] != equation.place)
    return [
        f"{equation.place}: the tensor has {equation.total}, the expression {total}"
        + (f" ({because})" if because else "")
    ]


def interleaving_problem(node: Node, sizes: Mapping[str, int]) -> str:
    """Say which interleaving in `node` has parts whose lengths do not allow them to be taken in turns; "" for none.

    Or which cases have unequal lengths.
    """
    if isinstance(node, Interleave | Cases):
        lengths = [size_of_expression(part, sizes) or 0 for part in node.parts]
        if isinstance(node, Cases):
            if len({*lengths}) > 1:
                return f"cases of lengths {', '.join(map(str, lengths))} on one axis: {shortened(text(node))}"
        elif lengths != turns(sum(lengths), len(lengths)):
            return f"parts of lengths {', '.join(map(str, lengths))} cannot be interleaved: {shortened(text(node))}"
    return next((found for child in children(node) if (found := interleaving_problem(child, sizes))), "")


def _bisect(equation: Equation, symbol: str, sizes: dict[str, int]) -> int | None:
    """The size of `symbol` that gives the total, or None; the size of an expression never falls as a symbol grows."""
    low, high = 1, max(equation.total, 1)
    trial = {name: sizes[name] for name in equation.names if name != symbol}
    while low < high:
        middle = (low + high) // 2
        trial[symbol] = middle
        if (size_of_expression(equation.node, trial) or 0) < equation.total:
            low = middle + 1
        else:
            high = middle
    trial[symbol] = low
    return low if size_of_expression(equation.node, trial) == equation.total else None


def _split(equation: Equation, sizes: dict[str, int]) -> list[Equation]:
    """Simpler equations that together say the same, or none. A contradiction becomes an equation that cannot hold."""
    node, total, place = equation.node, equation.total, equation.place
    match node:
        case Interleave(parts):
            shares = turns(total, len(parts))
            return [Equation(part, n, place) for part, n in zip(parts, shares, strict=True)] if min(shares) > 0 else []
        case Concat(parts):
            rest = tuple(part for part in parts if size_of_expression(part, sizes) is None)
            known = sum(n for part in parts if (n := size_of_expression(part, sizes)) is not None)
            if len(rest) == 1:
                return [Equation(rest[0], total - known, place)]
        case Product(factors):
            rest = tuple(factor for factor in factors if size_of_expression(factor, sizes) is None)
            known = 1
            for factor in factors:
                known *= size_of_expression(factor, sizes) or 1
            if len(rest) == 1 and total % known == 0:
                return [Equation(rest[0], total // known, place)]
    return []
