"""Fixed parts of axes as groups of their own: units that no permutation moves may still be acted on."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from starcli.symmetry.archspec.blocks import UnitGroup
from starcli.symmetry.archspec.expression import (
    Fixed,
    Node,
    Product,
    Ref,
    concat,
    references,
    with_children,
    with_references,
)
from starcli.symmetry.archspec.resolved import Resolved
from starcli.symmetry.archspec.stacked import is_stack
from starcli.symmetry.archspec.validate import make_resolved
from starcli.symmetry.kinds.copies import spelled_out
from starcli.symmetry.kinds.read_spec import ends_of_references

FixedPart = tuple[str, int, int]
"""Tensor, axis, and the position at which the part begins, when copies are written out."""
Cut = Sequence[tuple[int, str]]
"""What stands in a fixed part: groups by the position in it at which each begins, in order."""


def fixed_as_groups(spec: Resolved, most: int) -> tuple[Resolved, list[str]]:
    """The spec with each fixed part of 2 to `most` positions as a group, and the names of these groups.

    Of weights and biases alone, no kernels.

    >>> from starcli.symmetry.archspec.resolve import resolve_spec
    >>> from starcli.symmetry.archspec.spec import parse
    >>> spec = resolve_spec(parse("{format: 1, groups: {h: {size: 3}}, tensors: {w: [(h _)]}}"), {"w": (12,)})
    >>> fixed_as_groups(spec, 8)[0].expressions
    {'w': ('(h fixed.0)',)}
    """
    names = (name for n in count() if (name := f"fixed.{n}") not in spec.groups)
    made: dict[str, int] = {}
    axes: dict[str, tuple[Node, ...]] = {}
    for tensor, nodes in spec.axes.items():
        first = spec.names_of(tensor)[0]
        looked_at = first not in spec.buffers and len(nodes) - is_stack(first) <= 2
        axes[tensor] = axes.get(first) or (
            tuple(_labelled(node, names, made, most) for node in nodes) if looked_at else nodes
        )
    groups = {name: UnitGroup(name, size) for name, size in made.items()}
    return make_resolved({**spec.groups, **groups}, axes, spec.shapes, spec.buffers, spec.tied), list(made)


def with_groups(spec: Resolved, cuts: Mapping[FixedPart, Cut], groups: Mapping[str, UnitGroup]) -> Resolved:
    """The spec with `groups` besides, which stand in fixed parts as `cuts` say; tied tensors alike."""
    sizes = {name: group.size for name, group in groups.items()}
    axes = {
        tensor: tuple(
            _cut(node, own, {**spec.sizes, **sizes}) if own else node
            for axis, node in enumerate(nodes)
            for own in [{start: cut for (name, at, start), cut in cuts.items() if (name, at) == (first, axis)}]
        )
        for tensor, nodes in spec.axes.items()
        for first in [spec.names_of(tensor)[0]]
    }
    return make_resolved({**spec.groups, **groups}, axes, spec.shapes, spec.buffers, spec.tied)


def _labelled(node: Node, names: Iterator[str], made: dict[str, int], most: float) -> Node:
    """The tree with a name in place of each fixed part of 2 to `most` positions, of which `made` gets the sizes.

    In a product that is the last factor alone: one before others counts copies of these.
    """
    if isinstance(node, Fixed) and 2 <= node.size <= most:
        name = next(names)
        made[name] = node.size
        return Ref(name)
    if isinstance(node, Product):
        return Product((*node.factors[:-1], _labelled(node.factors[-1], names, made, most)))
    return with_children(node, lambda child: _labelled(child, names, made, most))


def _cut(node: Node, cuts: Mapping[int, Cut], sizes: Mapping[str, int]) -> Node:
    """The axis with its fixed parts cut, by the positions at which they begin; copies that differ are written out."""
    made: dict[str, int] = {}
    labelled = _labelled(node, (f" {n}" for n in count()), made, float("inf"))
    ends = ends_of_references(labelled, {**sizes, **made})
    found: dict[str, Node] = {}
    for ref, starts in zip(references(labelled), ends, strict=True):
        ways = [tuple(cuts.get(start, ())) for start in starts] if ref.name in made else []
        if any(way != ways[0] for way in ways):
            return _cut(spelled_out(node), cuts, sizes)
        if ways:
            found[ref.name] = _parts(made[ref.name], ways[0], sizes)
    return with_references(labelled, lambda ref: found.get(ref.name, ref))


def _parts(size: int, cut: Cut, sizes: Mapping[str, int]) -> Node:
    """A fixed part of `size` positions with groups in it."""
    parts, here = list[Node](), 0
    for start, group in cut:
        parts += [Fixed(start - here), Ref(group)] if start > here else [Ref(group)]
        here = start + sizes[group]
    return concat((*parts, Fixed(size - here)) if size > here else tuple(parts))
