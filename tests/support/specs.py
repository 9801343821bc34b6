"""Random specs for property tests, and what applying one means, element by element: an oracle without strides."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from starcli.errors import StarcliError
from starcli.symmetry.archspec.blocks import UnitGroup
from starcli.symmetry.archspec.expression import (
    Concat,
    Fixed,
    Interleave,
    Node,
    Product,
    Ref,
    size_of_expression,
    symbols,
)
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.validate import make_resolved

GROUPS = {
    "g": UnitGroup("g", 3),
    "f": UnitGroup("f", 2),
    "u": UnitGroup("u", 3, "g"),
    "v": UnitGroup("v", 2, "g"),
    "w": UnitGroup("w", 2, "u"),
}
SIZES = {name: group.size for name, group in GROUPS.items()}
TOP = ("g", "f")
INSIDE = {"g": ("u", "v"), "u": ("w",)}


def _around(group: str) -> tuple[str, ...]:
    parent = GROUPS[group].within
    return (*_around(parent), parent) if parent else ()


@st.composite
def trees(draw: st.DrawFn, inside: tuple[str, ...] = (), depth: int = 0) -> Node:
    """An axis expression; nested groups stand only where `inside` says that their parents do."""
    kinds = ["fixed", "group"] + (["product", "concat", "interleave"] if depth < 3 else [])
    kind = draw(st.sampled_from(kinds))
    names = TOP + tuple(child for parent in inside for child in INSIDE.get(parent, ()))
    if kind == "fixed":
        return Fixed(draw(st.integers(1, 3)))
    if kind == "group":
        return Ref(draw(st.sampled_from([name for name in names if name not in inside])))
    if kind == "concat":
        return Concat(tuple(draw(trees(inside, depth + 1)) for _ in range(draw(st.integers(2, 3)))))
    if kind == "interleave":
        part = draw(trees(inside, depth + 1))
        n = size_of_expression(part, SIZES) or 1
        return Interleave((part, draw(st.sampled_from([part, Fixed(n), Fixed(max(1, n - 1))]))))
    first = draw(st.sampled_from([name for name in names if name not in inside]))
    factors: list[Node] = [Ref(first), draw(trees((*inside, first), depth + 1))]
    if draw(st.booleans()):
        factors.append(Fixed(2))
    return Product(tuple(draw(st.permutations(factors))))


@st.composite
def specs(draw: st.DrawFn) -> Resolved:
    """A spec of up to four small tensors, some with groups whose parent stands on another axis."""
    axes: dict[str, tuple[Node, ...]] = {}
    for i in range(draw(st.integers(1, 4))):
        tensor = [draw(trees()) for _ in range(draw(st.integers(1, 2)))]
        if draw(st.booleans()):
            # As in ResNeXt: the outer axis bears the group, the inner one units within it.
            tensor = [Product((Ref("g"), Ref("u"))), draw(st.sampled_from([Ref("v"), Product((Fixed(2), Ref("v")))]))]
        axes[f"t{i}"] = (*tensor, *(Fixed(2) for _ in range(draw(st.integers(0, 1)))))
    used = {name for nodes in axes.values() for node in nodes for name in symbols(node)}
    for name in {parent for child in used for parent in _around(child)} - used:
        axes[f"p.{name}"] = (Product((*(Ref(parent) for parent in _around(name)), Ref(name))),)
        used.add(name)
    shapes = {name: tuple(size_of_expression(node, SIZES) or 0 for node in nodes) for name, nodes in axes.items()}
    try:
        return make_resolved({name: GROUPS[name] for name in used}, axes, shapes, frozenset(), ())
    except StarcliError:
        # A parent twice in one product, or on two other axes: no sound spec.
        from hypothesis import reject

        reject()


Address = tuple[tuple[object, ...], tuple[tuple[str | None, int], ...]]
"""Which branches of concatenations and interleavings lead to a position, and its index in each factor there."""


def addresses(node: Node, sizes: Mapping[str, int], path: tuple[object, ...] = ()) -> list[Address]:
    """For every position along an axis its address, straight from the meaning of the grammar."""
    match node:
        case Fixed(n):
            return [(path, ((None, i),)) for i in range(n)]
        case Ref(name):
            return [(path, ((name, i),)) for i in range(sizes[name])]
        case Concat(parts):
            return [a for i, part in enumerate(parts) for a in addresses(part, sizes, (*path, i))]
        case Interleave(parts):
            lists = [addresses(part, sizes, (*path, i)) for i, part in enumerate(parts)]
            return [a for turn in itertools.zip_longest(*lists) for a in turn if a is not None]
        case Product(factors):
            lists = [addresses(factor, sizes) for factor in factors]
            return [
                ((*path, *(p for p, _ in combination)), tuple(f for _, found in combination for f in found))
                for combination in itertools.product(*lists)
            ]
    raise AssertionError(node)


def applied(spec: Resolved, index: Mapping[str, Tensor], name: str, tensor: Tensor) -> Tensor:
    """new[position] = old[source(position)], one element at a time."""
    sizes = {group: g.size for group, g in spec.groups.items()}
    tables = [addresses(axis, sizes) for axis in spec.axes[name]]
    lookup = [{address: i for i, address in enumerate(table)} for table in tables]
    result = torch.empty_like(tensor)
    for position in itertools.product(*(range(n) for n in tensor.shape)):
        here = [table[i] for table, i in zip(tables, position, strict=True)]
        source = tuple(
            lookup[axis][path, tuple(_moved(spec, index, here, axis, factor) for factor in factors)]
            for axis, (path, factors) in enumerate(here)
        )
        result[position] = tensor[source]
    return result


def _moved(
    spec: Resolved, index: Mapping[str, Tensor], here: Sequence[Address], axis: int, factor: tuple[str | None, int]
) -> tuple[str | None, int]:
    group, i = factor
    if group is None:
        return factor
    row = tuple(_bearing(spec, here, axis, group))
    return group, int(index[group][(*row, i)])


def _bearing(spec: Resolved, here: Sequence[Address], axis: int, group: str) -> Iterator[int]:
    """New positions of the groups around `group`, outermost first."""
    parent = spec.groups[group].within
    if parent is None:
        return
    own = [(axis, i) for name, i in here[axis][1] if name == parent]
    others = [(k, i) for k, (_, factors) in enumerate(here) for name, i in factors if name == parent]
    (where, i) = (own or others)[0]
    yield from _bearing(spec, here, where, parent)
    yield i
