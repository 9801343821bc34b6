"""Axis expressions as strided blocks: views of a tensor, each axis of which belongs to one group or to none."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from starcli.symmetry.archspec.expression import (
    Cases,
    Concat,
    Fixed,
    Interleave,
    Node,
    Product,
    Ref,
    size_of_expression,
)

if TYPE_CHECKING:
    from torch import Tensor

MAX_BLOCKS = 20_000


class NestingError(Exception):
    """A nested group whose parent does not stand exactly once beside it, or an axis of too many parts."""


@dataclass(frozen=True)
class UnitGroup:
    """A set of units that may be permuted among themselves.

    A group `within` another one is permuted separately in each unit of that one: the key units of each attention head.
    """

    name: str
    size: int
    within: str | None = None


@dataclass(frozen=True)
class SubAxis:
    """A factor of a term: `size` positions, `step` apart along the tensor axis, borne by one group or by none."""

    size: int
    step: int
    group: str | None


@dataclass(frozen=True)
class AxisTerm:
    """One dense part of an axis: the positions start + sum_k step_k i_k, 0 <= i_k < size_k, factors in memory order."""

    start: int
    factors: tuple[SubAxis, ...]
    case: tuple[int, int] | None = None
    """(i, n) where it is there in the i-th of n parts of the tensor's first axis alone, or lies in that part of it."""


@dataclass(frozen=True)
class Block:
    """A strided view of a tensor, each sub-axis of which belongs to one group or to none.

    The blocks of a tensor partition it. `view(tensor)` has the shape `shape`; sub-axis k runs along tensor axis
    `axes[k]` in steps of `steps[k]`, and the block begins at position `starts[axis]` of each tensor axis. Every tensor
    axis has at least one sub-axis.
    """

    tensor: str
    shape: tuple[int, ...]
    groups: tuple[str | None, ...]
    parents: tuple[tuple[int, ...], ...]
    """For each sub-axis the positions, in `shape`, of the sub-axes that bear its parents, outermost first."""
    axes: tuple[int, ...]
    steps: tuple[int, ...]
    starts: tuple[int, ...]

    def view(self, tensor: "Tensor") -> "Tensor":
        """The block of `tensor`, of any strides: no copy, and writing to it writes to the tensor.

        Of several tensors, stacked along further axes in front, the block of each, with these axes in front.
        """
        strides, offset = tensor.stride(), tensor.storage_offset()
        first = len(strides) - len(self.starts)
        for start, stride in zip(self.starts, strides[first:], strict=True):
            offset += start * stride
        steps = [step * strides[first + axis] for step, axis in zip(self.steps, self.axes, strict=True)]
        return tensor.as_strided((*tensor.shape[:first], *self.shape), (*strides[:first], *steps), offset)


def spread_axes(values: "Tensor", axes: tuple[int, ...], dims: int) -> "Tensor":
    """`values` with its axes at positions `axes` of `dims`, of size 1 elsewhere; a view."""
    order = sorted(range(len(axes)), key=axes.__getitem__)
    sizes = dict(zip(axes, values.shape, strict=True))
    return values.permute(order).reshape([sizes.get(axis, 1) for axis in range(dims)])


def terms(node: Node, sizes: Mapping[str, int]) -> tuple[AxisTerm, ...]:
    """The dense parts of an axis whose sizes are all known, in the order of the expression. Raises NestingError.

    >>> from starcli.symmetry.archspec.parse_expression import parse_axis
    >>> for term in terms(parse_axis("a + (b 2)"), {"a": 3, "b": 5}):
    ...     print(term.start, [(factor.size, factor.step, factor.group) for factor in term.factors])
    0 [(3, 1, 'a')]
    3 [(5, 2, 'b'), (2, 1, None)]
    """
    found = list(itertools.islice(_terms(node, sizes), MAX_BLOCKS + 1))
    if len(found) > MAX_BLOCKS:
        raise NestingError(f"an axis falls into more than {MAX_BLOCKS} parts")
    return tuple(found)


def _terms(node: Node, sizes: Mapping[str, int], start: int = 0, step: int = 1) -> Iterator[AxisTerm]:
    """The dense parts of `node` in order, the first of its positions at `start`, neighbours `step` apart."""
    match node:
        case Fixed(n):
            yield AxisTerm(start, (SubAxis(n, step, None),))
        case Ref(name):
            yield AxisTerm(start, (SubAxis(sizes[name], step, name),))
        case Concat(parts):
            for part in parts:
                yield from _terms(part, sizes, start, step)
                start += step * _size(part, sizes)
        case Interleave(parts):
            for i, part in enumerate(parts):
                yield from _terms(part, sizes, start + i * step, step * len(parts))
        case Product(factors):
            yield from _product(factors, sizes, start, step)
        case Cases(parts):
            for i, part in enumerate(parts):
                for term in _terms(part, sizes):
                    yield replace(term, case=(i, len(parts)))


def _product(factors: tuple[Node, ...], sizes: Mapping[str, int], start: int, step: int) -> Iterator[AxisTerm]:
    """The first factor's terms, each with every term of the product of the others."""
    if len(factors) == 1:
        yield from _terms(factors[0], sizes, start, step)
        return
    inner = prod(_size(factor, sizes) for factor in factors[1:])
    for outer in _terms(factors[0], sizes, start, step * inner):
        for rest in _product(factors[1:], sizes, outer.start, step):
            yield AxisTerm(rest.start, outer.factors + rest.factors)


def _size(node: Node, sizes: Mapping[str, int]) -> int:
    n = size_of_expression(node, sizes)
    if n is None:
        raise AssertionError("terms are made of solved expressions only")
    return n


def in_cases(axes: tuple[tuple[AxisTerm, ...], ...]) -> tuple[tuple[AxisTerm, ...], ...]:
    """The terms of a tensor's axes; where others hold cases, those of the first axis are cut, and know their cases.

    Raises NestingError where that axis has no such parts.
    """
    counts = {term.case[1] for axis in axes for term in axis if term.case}
    if not counts:
        return axes
    first = axes[0]
    total = sum(prod(factor.size for factor in term.factors) for term in first)
    count = counts.pop()
    if counts or total % count or any(term.case for term in first):
        raise NestingError(f"the cases of an axis are not those of a first axis of {total} positions")
    return (tuple(cut for term in first for cut in _cut(term, total // count, count)), *axes[1:])


def _cut(term: AxisTerm, length: int, count: int) -> Iterator[AxisTerm]:
    """A term of the first axis, cut into those that lie in one of `count` parts of `length` positions each."""
    last = term.start + sum(factor.step * (factor.size - 1) for factor in term.factors)
    if term.start // length == last // length:
        yield replace(term, case=(term.start // length, count))
        return
    outer, *rest = term.factors
    if outer.group is not None or outer.size == 1:
        raise NestingError(f"axis 0: {outer.group or 'what stands there'} lies in two cases of another axis")
    begin, size = 0, min(max((length - term.start % length) // outer.step, 1), outer.size - 1)
    while size:
        made = (SubAxis(size, outer.step, None), *rest) if size > 1 or not rest else tuple(rest)
        yield from _cut(AxisTerm(term.start + begin * outer.step, made), length, count)
        begin += size
        size = min(max(length // outer.step, 1), outer.size - begin)


def blocks(tensor: str, axes: tuple[tuple[AxisTerm, ...], ...], groups: Mapping[str, UnitGroup]) -> tuple[Block, ...]:
    """All blocks of a tensor, from the terms of its axes: one for each combination of terms. Raises NestingError."""
    if prod(len(axis) for axis in axes) > MAX_BLOCKS:
        raise NestingError(f"more than {MAX_BLOCKS} blocks")
    return tuple(
        _block(tensor, combination, groups)
        for combination in itertools.product(*axes)
        if len({term.case for term in combination if term.case}) < 2
    )


def _block(tensor: str, combination: tuple[AxisTerm, ...], groups: Mapping[str, UnitGroup]) -> Block:
    """The block of one combination of terms, one for each axis."""
    factors = [(axis, factor) for axis, term in enumerate(combination) for factor in term.factors]
    names = tuple(factor.group for _, factor in factors)
    axes = tuple(axis for axis, _ in factors)
    return Block(
        tensor=tensor,
        shape=tuple(factor.size for _, factor in factors),
        groups=names,
        parents=tuple(_parents(k, names, axes, groups) for k in range(len(factors))),
        axes=axes,
        steps=tuple(factor.step for _, factor in factors),
        starts=tuple(term.start for term in combination),
    )


def _parents(
    k: int, names: tuple[str | None, ...], axes: tuple[int, ...], groups: Mapping[str, UnitGroup]
) -> tuple[int, ...]:
    """Sub-axes that bear the parents of sub-axis k: on its own axis if one does, else on the only other that does."""
    name = names[k]
    parent = groups[name].within if name is not None else None
    if parent is None:
        return ()
    bearing = [i for i, other in enumerate(names) if other == parent]
    own = [i for i in bearing if axes[i] == axes[k]]
    found = own or bearing
    if len(found) != 1:
        where = f"axis {axes[k]}" if own else "the other axes"
        count = f"{len(found)} times" if found else "nowhere"
        raise NestingError(
            f"axis {axes[k]}: {name} lies within {parent}, which stands {count} on {where} here, not once"
        )
    return (*_parents(found[0], names, axes, groups), found[0])
