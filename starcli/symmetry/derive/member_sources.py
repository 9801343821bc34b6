"""What may be told by members of a list: tensors of modules, rows of parameters, positions of an axis."""

import operator
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from starcli.symmetry.archspec.stacked import MEMBERS, stack_names
from starcli.symmetry.derive import nodes
from starcli.symmetry.derive.marks import MemberSource

_IN_PIECES = {*nodes.IN_PIECES, "unbind"}


def modules_of_lists(tensors: Mapping[str, fx.Node], same: Mapping[str, str]) -> Iterator[MemberSource]:
    """Every list of modules with tensors of the same names and shapes, none of which is shared."""
    shared = {first for name, first in same.items() if name != first}
    lists: dict[str, dict[str, dict[int, str]]] = defaultdict(lambda: defaultdict(dict))
    for name in tensors:
        for stack in stack_names(name):
            place = stack.split(".").index(MEMBERS)
            prefix = ".".join(stack.split(".")[:place])
            lists[prefix][stack][int(name.split(".")[place])] = name
    for prefix, stacks in lists.items():
        count = max(max(each) for each in stacks.values()) + 1
        names = [name for each in stacks.values() for name in each.values()]
        whole = count > 1 and all(each.keys() == set(range(count)) for each in stacks.values())
        shapes = [{tensors[name].meta["val"].shape for name in each.values()} for each in stacks.values()]
        if whole and all(len(each) == 1 for each in shapes) and not any(same[n] != n or n in shared for n in names):
            seeds = {tensors[name]: i for each in stacks.values() for i, name in each.items()}
            in_order = {stack: tuple(each[i] for i in range(count)) for stack, each in stacks.items()}
            yield MemberSource(prefix, count, seeds, in_order)


def rows_of_parameters(tensors: Mapping[str, fx.Node]) -> Iterator[MemberSource]:
    """Every parameter of which nothing is read but single rows, each of them."""
    for name, node in tensors.items():
        shape = node.meta["val"].shape
        if len(shape) < 2 or shape[0] < 2:
            continue
        rows: dict[fx.Node, int] = {}
        for user in nodes.readers(node):
            rows |= dict(_positions(user, 0, shape[0], 1))
            if nodes.name(user.target) == "unbind":
                continue
            if user not in rows:
                rows = {}
                break
        if set(rows.values()) == set(range(shape[0])) and all(_takes_the_axis(each) for each in rows):
            yield MemberSource(name, shape[0], rows)


def _takes_the_axis(node: fx.Node) -> bool:
    """Whether a node that reads one position leaves no axis of it."""
    return nodes.name(node.target) in ("select", "getitem")


def _positions(node: fx.Node, axis: int, count: int, width: int) -> Iterator[tuple[fx.Node, int]]:
    """The nodes by which `node` reads the k-th of `count` pieces of `width` along `axis`, each with k."""
    name, args = nodes.name(node.target), node.args
    rank = len(getattr(args[0].meta.get("val"), "shape", ())) if isinstance(args[0], fx.Node) else 0

    def along(number: int) -> bool:
        given = args[number] if len(args) > number else node.kwargs.get("dim", 0)
        return isinstance(given, int) and given % rank == axis

    if name == "select" and width == 1 and along(1):
        yield node, int(args[2]) % count  # type: ignore[arg-type]
    elif name == "slice" and along(1):
        given: list[Any] = [*args[2:5], *(None, None, 1)[max(0, len(args) - 2) :]]
        start, end, step = given
        first = start or 0
        if step in (1, None) and isinstance(first, int) and first >= 0 and first % width == 0:
            stop = min(end, count * width) if isinstance(end, int) and end >= 0 else count * width
            if stop - first == width:
                yield node, first // width
    elif name in _IN_PIECES and (along(1) if name == "unbind" else along(2)):
        pieces = node.meta["val"]
        sizes = {1} if name == "unbind" else {each.shape[axis] for each in pieces}
        if len(pieces) == count and sizes == {width}:
            for user in node.users:
                if user.target is operator.getitem:
                    yield user, int(user.args[1])  # type: ignore[arg-type]


def other_readings(graph: fx.Graph, count: int, strong: Sequence[MemberSource]) -> Iterator[MemberSource]:
    """All else of which each of `count` positions, or pieces, is read for itself: gates, and numbers of members."""
    taken = {node for source in strong for node in source.nodes}
    for node in graph.nodes:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor) or node in taken:
            continue
        for axis, n in enumerate(value.shape):
            if isinstance(n, int) and n % count == 0 and n:
                found: dict[fx.Node, int] = {}
                for user in nodes.readers(node):
                    found |= dict(_positions(user, axis, count, n // count))
                if set(found.values()) == set(range(count)) and taken.isdisjoint(found):
                    yield MemberSource(f"{node.name} {axis}", count, found, weak=True)
        compared = {
            user: user.args[1]
            for user in nodes.readers(node)
            if nodes.name(user.target) == "eq" and len(user.args) > 1 and type(user.args[1]) is int
        }
        if not value.is_floating_point() and set(compared.values()) == set(range(count)):
            yield MemberSource(f"{node.name} =", count, compared, weak=True)
